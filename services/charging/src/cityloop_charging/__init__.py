"""Charging of a city: stations, the status that operators report, figures of the plan."""
