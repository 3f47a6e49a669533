"""Parking of a city: places, live counts, reservations, search."""
