"""The kit's own metrics of events, jobs and sweeps; the service is a label, so that several can share a process."""

from __future__ import annotations

from collections.abc import Sequence

from cityloop_common.telemetry import counter, gauge, histogram

consumer_events = counter(
    "consumer_events",
    "Events that a consumer applied, skipped as known or superseded, or let pass, their type unknown.",
    ("service", "consumer", "outcome"),
)
consumer_retries = counter("consumer_retries", "Times that a consumer waited for a part that was away.", ("service", "consumer"))
consumer_gaps = counter("consumer_sequence_gaps", "Fact events whose predecessor was not seen before them.", ("service", "consumer"))
consumer_lag = gauge("consumer_lag_records", "Records that a consumer group has not taken yet.", ("service", "consumer", "topic"))
dead_letters = counter("consumer_dead_letters", "Records that were put aside with a reason.", ("service", "consumer", "topic"))
outbox_unpublished = gauge("outbox_unpublished_rows", "Events that wait for the log.")
outbox_oldest = gauge("outbox_oldest_unpublished_seconds", "Age of the oldest event that waits for the log.")
relay_published = counter("relay_published_events", "Events that the log has acknowledged.")
relay_failures = counter("relay_failures", "Sends that the log refused or did not answer.")
relay_holder = gauge("relay_holder", "1 where this process has the right to relay.")
jobs_finished = counter("jobs_finished", "Jobs that ended, by kind and how.", ("service", "kind", "state"))
jobs_open = gauge("jobs_open_rows", "Jobs that wait or run, by kind.", ("service", "kind", "state"))
jobs_oldest_due = gauge("jobs_oldest_due_seconds", "How long the oldest job that may run has waited for a worker.", ("service", "kind"))
clock_skew = gauge("clock_skew_seconds", "Difference of this process's clock from its database's, when it looked last.")
right_failures = counter("right_failures", "Times that work of one process at a time ended in an error.", ("service", "work"))
sweep_rows = counter("sweep_rows", "Rows that a sweep moved on.", ("service", "sweep"))
sweep_failures = counter("sweep_failures", "Sweeps that could not run.", ("service", "sweep"))
sweep_seconds = histogram("sweep_seconds", "Time of one sweep.", ("service", "sweep"))


def begin_at_zero(
    service: str, *, consumed: Sequence[tuple[str, str]], sweeps: Sequence[str], jobs: Sequence[str], only_once: Sequence[str] = ()
) -> None:
    """What alerts watch is there before the loops of a worker begin: Prometheus sees no increase in a series that begins at 1.

    `consumed` are consumers with each of their topics.
    """
    for consumer, topic in consumed:
        dead_letters.add(service, consumer, topic, by=0)
        consumer_retries.add(service, consumer, by=0)
        for outcome in ("applied", "skipped", "unknown"):
            consumer_events.add(service, consumer, outcome, by=0)
    for sweep in sweeps:
        sweep_failures.add(service, sweep, by=0)
    for kind in jobs:
        jobs_finished.add(service, kind, "failed", by=0)
    for work in only_once:
        right_failures.add(service, work, by=0)
    relay_holder.set(service, to=0)
    relay_failures.add(service, by=0)
    relay_published.add(service, by=0)
