"""The answer of a funnel: how many sessions took each step, and how long it took them to the next."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import asyncpg

from jobs.analytics import answers, cells
from jobs.analytics.answers import QUERIES, Answer, Span, measured, share
from jobs.analytics.cells import BOT
from jobs.analytics.funnel_catalog import Funnel, funnels
from jobs.catalog import Catalog


async def read(conn: asyncpg.Connection, wanted: Span, chosen: Funnel, *, bots: bool = False) -> Answer:
    """Sessions that took each step. `dropOff`: of those who entered, who did not go on, 0..1; times in ms."""
    measures = measured(("funnel:" + chosen.name, "gap:" + chosen.name), bots=bots)
    entered = [0] * len(chosen.steps)
    gaps: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for measure, key, n, *_ in await conn.fetch(QUERIES["cover_cells"], *wanted.cover(), measures):
        if measure.removeprefix(BOT).startswith("gap:"):
            step, index = (int(part or 0) for part in cells.parts(key))
            gaps[step][index] += n
        elif int(key) < len(entered):
            entered[int(key)] += n
    following = [*entered[1:], None]
    return {
        **answers.told(wanted),
        "bots": 0 if bots else await answers.bot_sessions(conn, wanted),
        "funnel": chosen.name,
        "windowSeconds": chosen.window,
        "conversionRate": share(entered[-1], entered[0]),
        "steps": [
            _step(step.title, entered[n], following[n], entered[0], gaps[n]) for n, step in enumerate(chosen.steps)
        ],
    }


def _step(title: str, entered: int, went_on: int | None, first: int, gaps: Mapping[int, int]) -> Answer:
    return {
        "step": title,
        "entered": entered,
        "converted": went_on,
        "dropOff": None if went_on is None else share(entered - went_on, entered),
        "shareOfFirst": share(entered, first),
        "medianTimeToNextMs": _rounded(cells.quantile(gaps, 0.5)),
    }


def named(catalog: Catalog, name: str) -> Funnel | None:
    """A funnel of the catalog, or the default one."""
    return next((one for one in funnels(catalog.analytics, catalog.funnels) if one.name == name), None)


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)
