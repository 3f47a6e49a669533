"""Waste's long work."""

from __future__ import annotations

from cityloop_waste.planning.jobs import PLAN, PLAN_BEFORE

JOBS = (PLAN, PLAN_BEFORE)
