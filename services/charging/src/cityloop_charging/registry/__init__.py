"""The registry: which charging stations there are, where, and which EVSEs stand in them."""
