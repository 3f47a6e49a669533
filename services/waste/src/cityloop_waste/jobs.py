"""Waste's long work."""

from __future__ import annotations

from cityloop_waste.planning.jobs import PLAN

JOBS = (PLAN,)
