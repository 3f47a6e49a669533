"""Migrations of parking's own tables."""
