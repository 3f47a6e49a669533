"""Roads: which way a truck may drive, how far it is and how long it takes."""
