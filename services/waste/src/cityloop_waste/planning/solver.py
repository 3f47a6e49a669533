"""What the service's own processes know of the solver: names for the pool, never the solver itself (it would cost them 200 MB)."""

from __future__ import annotations

SOLVE = "cityloop_waste.planning.work:solve"
DRAW = "cityloop_waste.planning.work:draw"
SOLVE_FILE = "cityloop_waste.planning.file_work:solve_file"
GRACE_S = 30.0
"""What a solve may take beyond its own time before its process is killed."""
