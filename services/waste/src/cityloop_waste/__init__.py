"""Waste logistics of a city: collection points, daily routes, weighed loads."""
