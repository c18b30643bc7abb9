"""Real data as actions; where it lies beside the project, the real thing through the whole pipe."""

from __future__ import annotations

import gzip
import json
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from bench import adapters, metering
from bench.adapters import NothingToPlay
from bench.player import Player
from bench.traffic import Stretch
from db.settings import Settings
from jobs import sending
from jobs.families import KINDS
from jobs.privacy.addresses import Addresses
from tests.api.service import Service, running
from tests.jobs.commands import settled

DATA = Path(__file__).parents[2].parent / "shared" / "data"
LOG = DATA / "apache_logs" / "access.log.gz"
ALL = frozenset(KINDS) - metering.KINDS
needs_data = pytest.mark.skipif(not LOG.exists(), reason=f"THE REAL DATA IS NOT HERE ({DATA}): nothing real was played")

TEXT = (
    '1.2.3.4 - bob [17/May/2015:10:05:43 +0200] "GET /b?c=d HTTP/1.1" 200 512 "-" "Agent \\"X\\" 1"\n'
    '1.2.3.4 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 304 - "http://other/" "Agent \\"X\\" 1"\n'
    "garbage\n"
    '::1 - - [17/May/2015:08:05:44 +0000] "-" 408 0 "-" "-"\n'
    '5.6.7.8 - - [99/May/2015:08:05:44 +0000] "GET / HTTP/1.1" 200 1 "-" "-"\n'
)


def actions(stretch: Stretch) -> list[dict[str, object]]:
    """All of them, lane by lane."""
    return [json.loads(line) for lane in stretch.lanes for request in lane for line in request.lines]


def test_a_combined_log(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(TEXT)
    stretch = adapters.read(path, ALL)
    found = {str(action["id"]).split("-", 2)[2]: action for action in actions(stretch)}
    assert set(found) == {"1-page", "1-size", "2-page", "4-page", "4-size"}
    assert found["1-page"]["at"] == "2015-05-17T08:05:43+00:00"
    assert found["1-page"]["data"] == {
        "path": "/b?c=d",
        "properties": {"method": "GET", "status": 200, "userAgent": 'Agent \\"X\\" 1'},
    }
    assert found["2-page"]["data"]["referrer"] == "http://other/"  # type: ignore[index]
    assert found["1-page"]["anonymousId"] == found["2-page"]["anonymousId"] != found["4-page"]["anonymousId"]
    assert "2 malformed lines left out: 3, 5" in stretch.remarks
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
    assert actions(adapters.read(path.with_suffix(".gz"), ALL)) == actions(stretch)


@pytest.mark.parametrize(("way", "users"), [("hidden", 3), ("shortened", 2), ("kept", 3)])
def test_an_address_is_nobodys_name(tmp_path: Path, way: Addresses, users: int) -> None:
    addresses = ("192.0.2.1", "192.0.2.9", "2001:db8::7")
    path = tmp_path / "access.log"
    path.write_text(
        "".join(f'{one} - - [17/May/2015:08:05:43 +0000] "GET / HTTP/1.1" 200 1 "-" "A"\n' for one in addresses)
    )
    sent = actions(adapters.read(path, ALL | metering.KINDS, way))
    text = json.dumps(sent)
    assert any(one in text for one in addresses) is (way == "kept")
    assert len({action["userId"] for action in sent if "userId" in action}) == users
    assert len({action["anonymousId"] for action in sent if "anonymousId" in action}) == 3
    assert actions(adapters.read(path, ALL | metering.KINDS, way)) == sent


def test_what_cannot_be_played_is_said(tmp_path: Path) -> None:
    (tmp_path / "courses.csv").touch()
    with pytest.raises(NothingToPlay, match=r"course\.enrolled and lesson\.completed, which this Milepost does not"):
        adapters.read(tmp_path, frozenset())
    with pytest.raises(NothingToPlay, match="cannot be read as course data"):
        adapters.read(tmp_path, ALL)
    for content, words in ((b"a,b\n1,2\n", "is neither"), (b"\x1f\x8bbroken", "cannot be read"), (b"", "is neither")):
        path = tmp_path / "data"
        path.write_bytes(content)
        with pytest.raises(NothingToPlay, match=words):
            adapters.read(path, ALL)


async def play(service: Service, stretch: Stretch) -> int:
    """Play it and wait; how many actions were accepted."""
    async with sending.http(32) as session:
        sender = sending.Sender(session, str(service.client.make_url("")).rstrip("/"), service.key)
        played = await Player(sender, lambda _: None).play(stretch)
    assert played.settled is not None
    assert not played.rejected
    await settled(service)
    return played.accepted


@needs_data
async def test_a_real_log_gives_the_sessions_that_ten_lines_of_python_find(settings: Settings) -> None:
    async with running(settings, draining=True) as service:
        stretch = adapters.read(LOG, ALL)
        assert await play(service, stretch) == stretch.number
        pages, visitors = await service.sql.fetchrow(
            "SELECT count(*), count(DISTINCT anonymous_id) FROM tracked_events WHERE kind = 'page.viewed'"
        )
        seen, malformed = by_hand(LOG)
        assert (pages, visitors, malformed) == (sum(map(len, seen.values())), len(seen), 1)
        assert await service.sql.fetchval("SELECT count(*) FROM user_sessions") == sum(map(sessions, seen.values()))
        assert await service.sql.fetchval("SELECT count(*) FROM tracked_events WHERE flags & 2 = 0") == 0  # all late
        before = await service.sql.fetch("SELECT * FROM user_sessions ORDER BY session_id")
        await play(service, adapters.read(LOG, ALL))
        assert await service.sql.fetch("SELECT * FROM user_sessions ORDER BY session_id") == before


def by_hand(path: Path) -> tuple[dict[tuple[str, str], list[datetime]], int]:
    """The times of each address and agent, read in another way than the adapter does; and the lines that are none."""
    seen: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    malformed = 0
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        at = re.search(r"\[([^]]+)\]", line)
        if at is None or not line.endswith('"'):
            malformed += 1
            continue
        agent = line[: -1 if line.endswith('"') else None].rpartition(' "')[2]
        seen[line.split(" ")[0], agent].append(datetime.strptime(at[1], "%d/%b/%Y:%H:%M:%S %z"))
    return seen, malformed


def sessions(times: list[datetime]) -> int:
    """A gap of more than 30 minutes starts a new one."""
    ordered = sorted(times)
    return 1 + sum(later - at > timedelta(minutes=30) for at, later in pairwise(ordered))


def test_sessions_by_hand() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    assert sessions([start + timedelta(minutes=one) for one in (0, 61, 30, 92)]) == 3
