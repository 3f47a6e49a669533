"""The kit's own Prometheus metrics; the service is a label, so that several can share a process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

consumer_events = Counter("consumer_events", "Events that a consumer applied, or skipped as known or superseded.", ["service", "consumer", "outcome"])
consumer_retries = Counter("consumer_retries", "Times that a consumer waited for a part that was away.", ["service", "consumer"])
consumer_gaps = Counter("consumer_sequence_gaps", "Fact events whose predecessor was not seen before them.", ["service", "consumer"])
consumer_lag = Gauge("consumer_lag_records", "Records that a consumer group has not taken yet.", ["service", "consumer", "topic"])
dead_letters = Counter("consumer_dead_letters", "Records that were put aside with a reason.", ["service", "consumer", "topic"])
outbox_unpublished = Gauge("outbox_unpublished_rows", "Events that wait for the log.", ["service"])
outbox_oldest = Gauge("outbox_oldest_unpublished_seconds", "Age of the oldest event that waits for the log.", ["service"])
relay_published = Counter("relay_published_events", "Events that the log has acknowledged.", ["service"])
relay_failures = Counter("relay_failures", "Sends that the log refused or did not answer.", ["service"])
relay_holder = Gauge("relay_holder", "1 where this process has the right to relay.", ["service"])
jobs_finished = Counter("jobs_finished", "Jobs that ended, by kind and how.", ["service", "kind", "state"])
jobs_open = Gauge("jobs_open", "Jobs that wait or run.", ["service", "kind"])
sweep_rows = Counter("sweep_rows", "Rows that a sweep moved on.", ["service", "sweep"])
sweep_failures = Counter("sweep_failures", "Sweeps that could not run.", ["service", "sweep"])
sweep_seconds = Histogram("sweep_seconds", "Time of one sweep.", ["service", "sweep"])
