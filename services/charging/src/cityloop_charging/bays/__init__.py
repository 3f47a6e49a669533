"""Bays: which car park a charging station stands in, and how many of its bays are thereby served."""
