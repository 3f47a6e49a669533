"""`python -m cityloop_charging` is the same as `cityloop charging`."""

from cityloop_common.cli import service_main
from cityloop_charging.service import SERVICE

service_main(SERVICE)
