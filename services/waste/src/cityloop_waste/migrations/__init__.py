"""Migrations of waste's own tables."""
