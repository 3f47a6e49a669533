"""Collection points: where sorted waste waits, how much of which stream, and when it may be taken."""
