"""Status: what each EVSE does now and did before, as operators report it."""
