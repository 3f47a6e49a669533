"""Observations: counts of taken spaces, with the time they were taken."""
