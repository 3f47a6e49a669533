"""The suite in one process on virtual time: seeded crashes, duplicates, delays, reordering; a seed replays byte for byte."""
