"""Figures: what the plan asks of charging, computed from the journals of the rooms below."""
