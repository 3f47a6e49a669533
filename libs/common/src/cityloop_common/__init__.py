"""The kit of CityLoop: time, identity, storage, events and HTTP, with no business in it."""

__version__ = "0.1.0"
