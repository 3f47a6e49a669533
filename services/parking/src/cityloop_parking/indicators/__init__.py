"""Figures: how much of the city's parking is known as it is, computed from the journals of the rooms below."""
