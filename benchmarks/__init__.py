"""Measurements beside named baselines, in the same run: `make bench` writes docs/benchmarks.md."""
