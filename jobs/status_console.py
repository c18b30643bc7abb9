"""The state of the pipe for people: tables, then what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from jobs.status import Schedule, Status, ago, span


def show(status: Status, console: Console) -> None:
    """Print it."""
    for name, state in (("Postgres", status.postgres), ("Redis", status.redis)):
        console.print(Text.assemble(f"{name:<9}", (state, "green" if state == "ok" else "bold red")))
    for title, table in _tables(status):
        console.print(Group(Text(f"\n{title}", "bold"), table))
    console.print()
    for line in status.problems:
        console.print(Text(f"problem  {line}", "bold red"))
    for line in status.warnings:
        console.print(Text(f"warning  {line}", "yellow"))
    if not status.problems:
        console.print(Text("the pipe is well", "green"))


def _tables(status: Status) -> list[tuple[str, Table]]:
    shown = [
        ("partitions", _partitions(status)),
        ("workers", _workers(status)),
        ("schedules", _schedules(status)),
    ]
    if status.dead_letters:
        rows = [(one.code, f"{one.number:,}", ago(one.newest, status.at)) for one in status.dead_letters]
        shown.append(("dead letters", _table(("code", ">open", "newest"), rows)))
    if status.deliveries:
        waiting = [
            (one.sort, one.status, f"{one.number:,}", f"{one.oldest_seconds:,.0f} s") for one in status.deliveries
        ]
        shown.append(("deliveries", _table(("to", "status", ">number", ">oldest"), waiting)))
    if status.sessions_aside:
        aside = [
            (one.reason, f"{one.number:,}", ago(one.since, status.at), ", ".join(one.first))
            for one in status.sessions_aside
        ]
        shown.append(("sessions that analytics cannot count", _table(("reason", ">number", "since", "first"), aside)))
    if status.tables:
        sizes = [(one.name, str(one.days or ""), f"{one.rows:,}", one.size) for one in status.tables]
        shown.append(("tables", _table(("name", ">days", ">rows, about", ">size"), sizes)))
    return shown


def _partitions(status: Status) -> Table:
    rows = [
        (
            str(one.id),
            _number(one.backlog_entries),
            _number(one.backlog_bytes),
            "?" if one.lag_seconds is None else f"{one.lag_seconds:.1f} s",
            "?" if one.rate is None else f"{one.rate:,.1f}",
            one.position or "?",
            ago(one.applied_at, status.at),
        )
        for one in status.partitions
    ]
    return _table((">id", ">entries", ">bytes", ">lag", ">applied/s", "applied position", "applied"), rows)


def _workers(status: Status) -> Table:
    rows = [
        (
            one.name,
            "alive" if one.alive else "gone",
            f"{one.beat_seconds:.0f} s ago",
            f"{one.applied:,}",
            f"{one.rate:,.0f}",
        )
        for one in status.workers
    ]
    return _table(("process", "state", "heartbeat", ">applied", ">actions/s, last minute"), rows)


def _schedules(status: Status) -> Table:
    rows = [_run(one, status.at) for one in status.schedules]
    return _table(("job", "last run", ">took", "next run", "result"), rows)


def _run(one: Schedule, now: datetime) -> tuple[str, ...]:
    took = "" if one.seconds is None else f"{one.seconds:.2f} s"
    result = ("FAILED " if one.failed else "") + (one.result or "")
    return one.name, ago(one.at, now), took, _until(one.next_at, now), result


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column.removeprefix(">"), justify="right" if column.startswith(">") else "left", overflow="fold"
        )
    for row in rows or [("none", *[""] * (len(columns) - 1))]:
        table.add_row(*map(Text, row))
    return table


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _until(at: datetime | None, now: datetime) -> str:
    if at is None:
        return "?"
    return f"in {span(at - now)}" if at > now else "now"
