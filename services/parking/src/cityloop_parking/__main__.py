"""`python -m cityloop_parking` is the same as `cityloop parking`."""

from cityloop_common.cli import service_main
from cityloop_parking.service import SERVICE

service_main(SERVICE)
