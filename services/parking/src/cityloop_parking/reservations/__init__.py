"""Reservations: holding a space for a time, and never selling it twice."""
