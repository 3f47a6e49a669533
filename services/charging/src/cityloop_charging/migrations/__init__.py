"""Migrations of charging's own tables."""
