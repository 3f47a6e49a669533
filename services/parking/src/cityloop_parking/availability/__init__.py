"""The room `availability`: how many spaces there will be, and how sure that is."""
