"""Places: what a car park is, where, and how many spaces it has."""
