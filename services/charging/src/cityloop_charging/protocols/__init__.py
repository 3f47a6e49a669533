"""Protocols: how others talk to charging in their own standards."""
