"""Figures of the plan that waste answers for."""
