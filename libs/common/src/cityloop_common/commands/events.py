"""`cityloop events`, `dlq`, `outbox`, `republish`: what is on its way, what got stuck, and sending it again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from cityloop_common import asyncapi, outbox, republishing
from cityloop_common.clock import rfc3339
from cityloop_common.envelope import BadEnvelope, from_record
from cityloop_common.eventlog import EventLog, Message, Record, Retention
from cityloop_common.service import Republish, Service, installed_services
from cityloop_common.telemetry import redact
from cityloop_common.terminal import AsJson, fail, opened, opened_ports, out, print_json, progress_bar, run_async, services_at_hand, show

events = typer.Typer(help="Reads the event log.", no_args_is_help=True)
dlq = typer.Typer(help="Dead letters: records that a consumer put aside, with the reason.", no_args_is_help=True)
DLQ = ".dlq"


@events.command("topics")
def topics(as_json: AsJson = False) -> None:
    """Topics with their records and the lag of each consumer group."""

    async def work() -> None:
        async with opened_ports() as (_, ports):
            found = await ports.log.describe()
        rows: list[Mapping[str, object]] = [
            {
                "topic": each.name,
                "retention": each.retention.value,
                "partitions": len(each.end_offsets),
                "end": sum(each.end_offsets.values()),
                "lag": dict(each.lag_records) if as_json else ", ".join(f"{group} {lag}" for group, lag in each.lag_records.items()),
            }
            for each in found
        ]
        show(("topic", "retention", "partitions", "end", "lag"), rows, as_json=as_json)

    run_async(work())


@events.command("tail")
def tail(
    topic: Annotated[list[str] | None, typer.Argument(help="Topics; all of this installation when left out.")] = None,
    from_start: Annotated[bool, typer.Option("--from-start", help="Begin with the oldest record kept.")] = False,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Wait for what comes.")] = True,
    as_json: AsJson = False,
) -> None:
    """Prints events as they come, one a line."""

    async def work() -> None:
        async with opened_ports() as (_, ports):
            names = topic or sorted({each.topic for service in installed_services() for each in service.publishes})
            async for record in ports.log.read(names, from_start=from_start, follow=follow):
                _print_record(record, as_json=as_json)

    run_async(work())


def _print_record(record: Record, *, as_json: bool) -> None:
    shown = _shown(record)
    if as_json:
        out.print(orjson.dumps(shown).decode(), markup=False, soft_wrap=True)
    else:
        body = orjson.dumps(shown["data"]).decode() if shown["data"] is not None else str(shown.get("unreadable"))
        line = f"{shown['time']}  {shown['type']}  {shown['key']} #{shown['sequence']}  {redact(body)}"
        out.print(line, markup=False, soft_wrap=True)


def _shown(record: Record) -> dict[str, Any]:
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    try:
        event = from_record(record.topic, record.key, record.headers, record.value)
        data = event.body()
        known = {"id": event.id, "type": event.type, "key": event.key, "sequence": event.sequence, "time": rfc3339(event.time)}
        return {**place, **known, "data": data}
    except BadEnvelope as error:
        kind = record.headers.get("ce_type", b"?").decode(errors="replace")
        nothing = {"id": None, "type": kind, "key": (record.key or b"").decode(errors="replace"), "sequence": None}
        return {**place, **nothing, "time": rfc3339(record.appended_at), "data": None, "unreadable": str(error)}


async def _letters(log: EventLog, topic: str | None) -> list[Record]:
    names = [each.name for each in await log.describe() if each.name.endswith(DLQ)]
    if topic is not None:
        names = [name for name in names if name in (topic, f"{topic}{DLQ}")]
        if not names:
            fail(f"no dead-letter topic for {topic!r}")
    return [record async for record in log.read(names, from_start=True, follow=False)] if names else []


def _letter_row(record: Record) -> dict[str, Any]:
    header = {
        name: record.headers.get(name, b"").decode(errors="replace")
        for name in ("dlq_consumer", "dlq_reason", "dlq_at", "ce_id", "ce_type")
    }
    return {
        "letter": f"{record.topic.removesuffix(DLQ)}/{record.partition}/{record.offset}",
        "consumer": header["dlq_consumer"],
        "type": header["ce_type"],
        "id": header["ce_id"],
        "at": header["dlq_at"],
        "reason": redact(header["dlq_reason"]),
    }


@dlq.command("list")
def list_letters(topic: Annotated[str | None, typer.Argument(help="Only letters of this topic.")] = None, as_json: AsJson = False) -> None:
    """Dead letters with their reasons."""

    async def work() -> None:
        async with opened_ports() as (_, ports):
            rows = [_letter_row(record) for record in await _letters(ports.log, topic)]
        show(("letter", "consumer", "type", "at", "reason"), rows, as_json=as_json)

    run_async(work())


@dlq.command("show")
def show_letter(letter: Annotated[str, typer.Argument(help="topic/partition/offset, as `dlq list` prints it.")]) -> None:
    """One dead letter, whole."""

    async def work() -> None:
        async with opened_ports() as (_, ports):
            record = await _one_letter(ports.log, letter)
        print_json({**_letter_row(record), "record": _shown(record)})

    run_async(work())


@dlq.command("replay")
def replay(
    topic: Annotated[str, typer.Argument(help="Topic whose dead letters go back to it.")],
    letter: Annotated[str | None, typer.Option(help="Only this one, as `dlq list` prints it.")] = None,
) -> None:
    """Sends dead letters to their topic again, with their old ids: who has taken them already skips them.

    Left out: a letter of an event that has a later letter, and a state that its topic has a newer one of.
    """

    async def work() -> None:
        async with opened_ports() as (_, ports):
            found = [await _one_letter(ports.log, letter)] if letter else await _letters(ports.log, topic)
            messages = [_back(record) for record in await worth_replaying(ports.log, found)]
            outcomes = await ports.log.send(messages) if messages else []
        failed = [str(outcome) for outcome in outcomes if outcome is not None]
        out.print(f"{len(messages) - len(failed)} of {len(found)} sent to {topic}; {len(found) - len(messages)} have a newer one")
        if failed:
            fail(failed[0])

    run_async(work())


async def worth_replaying(log: EventLog, letters: Sequence[Record]) -> list[Record]:
    """The last letter of each event, without states that would become the last of their key in a compacted topic."""
    last = {(record.topic, record.headers.get("ce_id", f"{record.partition}/{record.offset}".encode())): record for record in letters}
    compacted = {each.name for each in await log.describe() if each.retention is Retention.COMPACT}
    newest: dict[tuple[str, bytes | None], int] = {}
    for topic in sorted({record.topic.removesuffix(DLQ) for record in last.values()} & compacted):
        async with aclosing(log.read([topic], from_start=True, follow=False)) as records:
            async for record in records:
                newest[topic, record.key] = max(_sequence(record), newest.get((topic, record.key), -1))
    return [record for record in last.values() if _sequence(record) >= newest.get((record.topic.removesuffix(DLQ), record.key), -1)]


def _sequence(record: Record) -> int:
    digits = record.headers.get("ce_sequence", b"")
    return int(digits) if digits.isdigit() and len(digits) < 20 else -1


async def _one_letter(log: EventLog, letter: str) -> Record:
    topic, _, _ = letter.partition("/")
    found = [record for record in await _letters(log, topic) if _letter_row(record)["letter"] == letter]
    return found[0] if found else fail(f"no dead letter {letter!r}")


def _back(record: Record) -> Message:
    headers = [(name, value) for name, value in record.headers.items() if not name.startswith("dlq_")]
    return Message(record.topic.removesuffix(DLQ), record.key or b"", record.value, headers)


@events.command("schemas")
def schemas(
    folder: Annotated[Path, typer.Argument(help="Folder to write the schemas and AsyncAPI documents to.")] = Path("docs/events"),
) -> None:
    """Writes what is published as JSON Schemas and AsyncAPI documents."""
    folder.mkdir(parents=True, exist_ok=True)
    for service in installed_services():
        for name, content in asyncapi.files(service).items():
            (folder / name).write_bytes(content)
            out.print(folder / name)


def show_outbox(as_json: AsJson = False) -> None:
    """What waits to be sent, by service."""

    async def work() -> None:
        rows: list[Mapping[str, object]] = []
        for service in services_at_hand():
            async with opened(service) as ctx, ctx.db.read() as tx:
                waiting, oldest = await outbox.backlog(tx)
            rows.append({"service": service.name, "waiting": waiting, "oldest": rfc3339(oldest) if oldest else None})
        show(("service", "waiting", "oldest"), rows, as_json=as_json)

    run_async(work())


def republish(
    topics: Annotated[list[str], typer.Argument(help="Topics to send again from their publishers' tables.", metavar="TOPIC...")],
    key: Annotated[str | None, typer.Option(help="Only this aggregate (of one topic).")] = None,
) -> None:
    """Sends the newest events of topics again, with their old ids, for consumers that came late."""
    known = {each.topic: (service, each) for service in installed_services() for each in service.republish}
    unknown = [topic for topic in topics if topic not in known]
    if unknown:
        fail(f"nobody can republish {', '.join(unknown)}; these can be: {', '.join(sorted(known)) or 'none'}")
    if key is not None and len(topics) > 1:
        fail("--key is of one topic", 2)
    for topic in topics:
        run_async(_republish(*known[topic], key))


async def _republish(service: Service, each: Republish, key: str | None) -> None:
    kind = next(published.kind for published in service.publishes if published.topic == each.topic)
    async with opened(service) as ctx:
        with progress_bar(f"republish {each.topic}") as advance:
            sent = await republishing.republish(ctx, each, kind, key, lambda so_far: advance(so_far, None, ""))
            advance(sent, sent, "")
    out.print(f"{sent} events of {each.topic} are in the outbox again; a running worker sends them")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(events, name="events")
    app.add_typer(dlq, name="dlq")
    app.command("outbox")(show_outbox)
    app.command()(republish)
