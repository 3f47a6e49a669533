"""Operators: who reports on charging stations, and the secrets that their messages are signed and encrypted with."""
