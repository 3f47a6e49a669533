"""Vehicles: how many new-energy vehicles are registered, by class, drive and district."""
