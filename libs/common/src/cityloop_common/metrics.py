"""The kit's own metrics of events, jobs and sweeps; the service is a label, so that several can share a process."""

from __future__ import annotations

from cityloop_common.telemetry import counter, gauge, histogram

consumer_events = counter(
    "consumer_events", "Events that a consumer applied, or skipped as known or superseded.", ("service", "consumer", "outcome")
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
sweep_rows = counter("sweep_rows", "Rows that a sweep moved on.", ("service", "sweep"))
sweep_failures = counter("sweep_failures", "Sweeps that could not run.", ("service", "sweep"))
sweep_seconds = histogram("sweep_seconds", "Time of one sweep.", ("service", "sweep"))
