"""Closures: when waste collection needs a section of street that is a car park at other times."""
