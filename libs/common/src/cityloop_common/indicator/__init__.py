"""One frame for every figure of the plan: what it means, the exact integers, the rows behind it, as it was known when."""

from __future__ import annotations

from cityloop_common.indicator.domain import (
    Ask,
    Better,
    Evaluation,
    Figure,
    Indicator,
    Moment,
    NoData,
    Row,
    Scheme,
    Status,
    evaluated,
    gap_to,
    moment,
)
from cityloop_common.indicator.evaluating import When, evaluate
from cityloop_common.indicator.figures import Figures

__all__ = [
    "Ask",
    "Better",
    "Evaluation",
    "Figure",
    "Figures",
    "Indicator",
    "Moment",
    "NoData",
    "Row",
    "Scheme",
    "Status",
    "When",
    "evaluate",
    "evaluated",
    "gap_to",
    "moment",
]
