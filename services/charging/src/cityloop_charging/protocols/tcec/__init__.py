"""T/CEC 102: the envelope that charging operators sign and send, and what is taken from it."""
