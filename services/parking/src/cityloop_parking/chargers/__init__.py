"""Chargers: what parking knows of charging, and how many charging bays of a car park work and are free."""
