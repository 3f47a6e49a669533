"""`python -m cityloop_waste` is the same as `cityloop waste`."""

from cityloop_common.cli import service_main
from cityloop_waste.service import SERVICE

service_main(SERVICE)
