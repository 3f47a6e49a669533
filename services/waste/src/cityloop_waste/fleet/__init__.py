"""Trucks, their depots, and the sites where loads are tipped."""
