"""`python -m cityloop_charging` is the same as `cityloop charging`."""

from cityloop_charging.service import SERVICE
from cityloop_common.cli import service_main

service_main(SERVICE)
