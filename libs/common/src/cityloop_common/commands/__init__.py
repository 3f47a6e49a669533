"""The sub-commands of `cityloop`."""
