"""The three services on one log: a small town, the people who run and use it, and what must hold."""
