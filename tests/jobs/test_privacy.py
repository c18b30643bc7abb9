"""Erased is erased: no table and no key holds the id, nothing brings it back, and what others did is as it was."""

from __future__ import annotations

import asyncio
import gzip
import json
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from db import keys, live, stream
from jobs.action import Action
from jobs.analytics import rolling
from jobs.onboarding import days as onboarding_days
from jobs.privacy import receipts, tombstones
from jobs.privacy.erasure import Erasure
from jobs.privacy.tombstones import Erased
from tests.api.service import Service
from tests.jobs.commands import Operator, settled
from tests.worker import receiver

ANN = "ann-7f3h*[x]"
"""A user whose id means something to a glob, in a partition that is erased before that of the session `quiet-5`."""
CLICK = {"eventType": "click", "category": "colour"}


def click(action_id: str, **who: str) -> dict[str, Any]:
    """One click."""
    return {"id": action_id, "kind": "interaction.recorded", "data": CLICK, **who}


def life(user: str) -> list[dict[str, Any]]:
    """Something of every family, by one user."""
    own = {"userId": user}
    saved = {"configuration": {"engraved": f"for {user}"}, "trigger": "order_attempt", "totalPrice": 5}
    return [
        click("own", sessionId=f"s-{user}", **own),
        click(f"unnamed-{user}", sessionId=f"s-{user}", anonymousId=f"device-{user}"),
        click(f"before-{user}", sessionId="before", anonymousId=f"device-{user}"),
        click(f"quiet-{user}", sessionId="quiet-5", anonymousId=f"device-{user}"),
        click(f"together-{user}", sessionId="shared", **own),
        click("visit", **own),
        {"id": "saved", "kind": "configuration.saved", "sessionId": f"s-{user}", "data": saved, **own},
        {"id": "seen", "kind": "page.viewed", "sessionId": f"s-{user}", "data": {"path": f"/{user}"}, **own},
        {"id": "lone", "kind": "metric.recorded", "data": {"metricName": "ms", "value": 3}, **own},
        {"id": "watched", "kind": "lesson.completed", "data": {"lessonId": "l", "courseId": "c"}, **own},
        {
            "id": "first",
            "kind": "onboarding.action_completed",
            "data": {"action": "created_clip", "projectId": "p"},
            "orgId": "acme",
            **own,
        },
        {"id": "step", "kind": "onboarding.step_completed", "data": {"step": "WELCOME"}, "orgId": "acme", **own},
        {"id": "used", "kind": "usage.recorded", "data": {"action": "API_CALL"}, **own},
        {"id": "held", "kind": "usage.reserved", "data": {"action": "AI_ANALYSIS"}, **own},
        {"id": "code", "kind": "referral.code_requested", "orgId": "acme", "data": {}, **own},
    ]


async def lived(pipe: Service, *users: str) -> None:
    """Courses, a destination, and what these users did; rolled up and cached, with dead letters and listeners."""
    course = {"title": "C", "lessons": [{"id": "l", "title": "L"}]}
    admin = await pipe.make_key("admin")
    assert (await pipe.ask("PUT", "/v1/courses/c", course, by=admin)).status in (200, 201)
    await receiver.register(pipe.sql, "http://127.0.0.1:9/hook")
    now = datetime.now(UTC)
    for user in users:
        answer = await pipe.send({"actions": life(user)})
        assert (answer.status, answer.body.get("rejected")) == (202, []), answer
        body = msgspec.msgpack.encode(Action("dead", "gone.kind", f"user:{user}", now, now, 0, b"{}"))
        for record in (body, b"\xc1" + user.encode()):
            await pipe.redis.xadd(keys.actions(partition(pipe, user)), {"b": stream.pack([record])})
        await live.keep(pipe.redis, [(partition(pipe, user), f"user:{user}")])
    await settled(pipe)
    await rolled(pipe)
    for user in users:
        assert (await pipe.get(f"/v1/sessions/s-{user}")).status == 200
        await pipe.get("/v1/progress/stats", by=pipe.token(user, scope="read"))


def partition(pipe: Service, user: str) -> int:
    """Of a user's own actions."""
    return stream.partition_of(f"user:{user}", pipe.settings.partitions)


async def rolled(pipe: Service) -> None:
    """Until the rollups have seen everything."""
    async with pipe.sql.acquire() as conn:
        done = False
        while not done:
            async with conn.transaction():
                done = (await rolling.roll(conn, datetime.now(UTC))).is_done
        async with conn.transaction():
            assert (await onboarding_days.count(conn)).is_done


async def erase(pipe: Service, user: str = ANN) -> receipts.Receipt:
    """As the command does."""
    async with pipe.sql.acquire() as conn:
        done = await Erasure(conn, pipe.redis, user, 7).run()
        found = await receipts.find(conn, done)
    assert found is not None
    return found


async def traces(pipe: Service, text: str) -> list[str]:
    """Every table and every key of Redis in which a text stands."""
    found: list[str] = []
    tables = await pipe.sql.fetch(
        "SELECT c.oid::regclass::text AS name, array_agg(quote_ident(a.attname)) AS columns FROM pg_class c"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
        " WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace GROUP BY 1"
    )
    for table in tables:
        for column in table["columns"]:
            query = f"SELECT count(*) FROM {table['name']} WHERE strpos({column}::text, $1) > 0"
            if await pipe.sql.fetchval(query, text):
                found.append(f"{table['name']}.{column}")
            in_bytes = "SELECT count(*) FROM {} WHERE position(convert_to($1, 'UTF8') IN {}) > 0"
            kind = await pipe.sql.fetchval(f"SELECT pg_typeof({column})::text FROM {table['name']} LIMIT 1")
            if kind == "bytea" and await pipe.sql.fetchval(in_bytes.format(table["name"], column), text):
                found.append(f"{table['name']}.{column}")
    async for key in pipe.redis.scan_iter():
        dumped = await pipe.redis.dump(key)
        if text.encode() in key or text.encode() in (dumped or b""):
            found.append(key.decode())
    return found


async def numbers(pipe: Service) -> dict[str, Any]:
    """What the tables of everybody hold, for comparison."""
    tables = (
        *("rollups", "visitor_hours", "session_rollups", "configurations", "user_sessions", "usage_counters"),
        "onboarding_days",
    )
    return {table: await pipe.sql.fetch(f"SELECT t::text FROM {table} t ORDER BY 1") for table in tables}


async def is_clean(operator: Operator) -> None:
    """States are what the facts say."""
    ran = await operator.run("rebuild", "--check")
    assert ran.code == 0, ran.out


async def test_nothing_is_left_of_who_is_erased(
    pipe: Service, operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    await lived(pipe, ANN, "bob")
    assert await traces(pipe, ANN)
    ran = await operator.run("erase", "--user", ANN, "--yes")
    assert ran.code == 0, ran.err
    receipt = json.loads(ran.out)
    assert await traces(pipe, ANN) == []
    logged = "".join(capsys.readouterr())
    assert "undecodable" in logged
    assert ANN not in ran.out + ran.err + logged
    assert len(receipt["positions"]) == pipe.settings.partitions
    rows = receipt["removed"]
    assert rows.keys() >= {
        *("interaction_events", "configuration_snapshots", "performance_metrics", "tracked_events", "user_sessions"),
        *("course_events", "user_progress", "user_courses", "certificates", "onboarding_events", "onboarding_actions"),
        *("usage_records", "usage_counters", "usage_reservations", "usage_accounts", "effects", "deliveries"),
        "dead_letters",
    }
    await is_clean(operator)


async def test_what_others_did_stays_as_it_was(pipe: Service, operator: Operator) -> None:
    await lived(pipe, "bob")
    before = await numbers(pipe)
    answer = await pipe.send({"actions": life(ANN)})
    await pipe.settle(answer)
    await rolled(pipe)
    assert await numbers(pipe) != before
    await erase(pipe)
    assert await numbers(pipe) == before
    assert (await pipe.get("/v1/sessions/shared")).body["userId"] == "bob"
    nameless = "SELECT count(*) FROM referral_events WHERE org_id = 'acme' AND user_id IS NULL"
    assert await pipe.sql.fetchval(nameless) >= 1
    await is_clean(operator)


async def test_retries_what_lies_in_the_log_and_what_comes_later_bring_nobody_back(pipe: Service) -> None:
    await lived(pipe, ANN, "bob")
    await erase(pipe)
    late = [*life(ANN), click("later", sessionId="new", userId=ANN), click("alone", sessionId=f"s-{ANN}")]
    await pipe.settle(await pipe.send({"actions": late}))
    await settled(pipe)
    assert await traces(pipe, ANN) == []
    answer = await pipe.send(click("waits", sessionId="w", userId=ANN), Prefer="wait=10")
    assert answer.body["results"][0]["outcome"]["error"] == "erased"
    body = {"id": "o", "kind": "referral.code_requested", "orgId": "other", "userId": ANN, "data": {}}
    await pipe.settle(await pipe.send(body))
    assert await pipe.sql.fetchval("SELECT user_id FROM referral_events WHERE org_id = 'other'") is None
    assert await pipe.sql.fetchval("SELECT count(*) FROM referral_codes WHERE org_id = 'other'") == 1


async def test_a_session_is_somebody_elses_again(pipe: Service) -> None:
    await lived(pipe, ANN)
    await erase(pipe)
    await pipe.settle(await pipe.send(click("new", sessionId=f"s-{ANN[:3]}", userId="bob")))
    await pipe.settle(await pipe.send(click("again", sessionId="before", userId="bob", anonymousId="other")))
    assert (await pipe.get("/v1/sessions/before")).body["anonymousId"] == "other"


async def test_erasing_under_way_of_everybody(pipe: Service, operator: Operator) -> None:
    """They and others go on, in sessions of their own and in shared ones: afterwards nothing of theirs is there."""
    await lived(pipe, ANN, "bob")

    async def traffic(user: str) -> None:
        for number in range(60):
            own = [{**one, "id": f"{one['id'].partition('-')[0]}-{number}-{user == ANN}"} for one in life(user)]
            assert (await pipe.send({"actions": own})).status == 202

    async with asyncio.TaskGroup() as tasks:
        for user in (ANN, "bob", ANN):
            tasks.create_task(traffic(user))
        tasks.create_task(erase(pipe))
    await settled(pipe)
    await erase(pipe)
    await rolled(pipe)
    assert await traces(pipe, ANN) == []
    assert (await pipe.get("/v1/sessions/shared")).body["interactions"] == 61
    await is_clean(operator)


async def test_what_their_device_sends_while_they_are_looked_for_goes_too(
    pipe: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await lived(pipe, ANN)
    original = Erasure._find

    async def find(one: Erasure) -> Any:
        found = await original(one)
        for number, at in enumerate(("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")):
            late = click(f"late-{number}", anonymousId=f"device-{ANN}") | {"at": at}
            await pipe.settle(await pipe.send(late))
        return found

    monkeypatch.setattr(Erasure, "_find", find)
    await erase(pipe)
    assert await traces(pipe, ANN) == []


class Mortal(asyncpg.Connection):  # type: ignore[misc]
    """A connection that is gone at its n-th statement."""

    left = 1 << 30

    def _spend(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.terminate()
            raise ConnectionAbortedError

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Counted."""
        self._spend()
        return await super().execute(*args, **kwargs)

    async def _execute(self, *args: Any, **kwargs: Any) -> Any:
        self._spend()
        return await super()._execute(*args, **kwargs)


async def test_who_is_killed_at_any_statement_goes_on(pipe: Service, operator: Operator) -> None:
    await lived(pipe, ANN, "bob")
    runs, left = 0, 2
    done: uuid.UUID | None = None
    while done is None:
        conn = await asyncpg.connect(pipe.settings.database_url, connection_class=Mortal)
        conn.left = left
        try:
            done = await Erasure(conn, pipe.redis, ANN, 7).run()
        except (ConnectionAbortedError, asyncpg.InterfaceError, asyncpg.PostgresError):
            runs += 1
            left += 3
        finally:
            conn.terminate()
    assert runs > 15
    assert await traces(pipe, ANN) == []
    async with pipe.sql.acquire() as held:
        receipt = await receipts.find(held, done)
    assert receipt is not None
    assert receipt.removed["user_sessions"] == 2
    assert receipt.removed["interaction_events"] == 6
    assert await pipe.sql.fetchval("SELECT count(*) FROM erasures") == 1
    await is_clean(operator)


async def test_erasing_again_and_erasing_nobody_is_no_harm(pipe: Service) -> None:
    await lived(pipe, ANN)
    assert (await erase(pipe)).removed
    assert (await erase(pipe)).removed == {}
    assert (await erase(pipe, "never-seen")).removed == {}


async def test_an_export_holds_everything(pipe: Service, operator: Operator, tmp_path: Path) -> None:
    await lived(pipe, ANN, "bob")
    file = tmp_path / "ann.ndjson.gz"
    ran = await operator.run("export", "--user", ANN, str(file))
    assert ran.code == 0, ran.err
    rows = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    tables = {row["table"] for row in rows}
    assert tables >= {
        *("interaction_events", "configuration_snapshots", "performance_metrics", "tracked_events", "user_sessions"),
        *("session_rollups", "visitor_hours", "onboarding_events", "onboarding_progress", "course_events"),
        *("user_progress", "user_courses", "certificates", "referral_events", "usage_records", "usage_counters"),
        *("usage_reservations", "usage_accounts", "effects", "deliveries", "dead_letters", "read models"),
    }
    assert {row["row"]["id"] for row in rows if row["table"] == "interaction_events"} == {
        *("own", f"unnamed-{ANN}", f"together-{ANN}", "visit")
    }
    assert "bob" not in "".join(json.dumps(row) for row in rows if row["table"] != "user_sessions")
    ran = await operator.run("export", "--org", "acme")
    tables = {json.loads(line)["table"] for line in ran.out.splitlines()}
    assert tables >= {"onboarding_progress", "referral_events", "referral_organizations", "referral_codes"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export"], "name one"),
        (["export", "--user", "a", "--org", "b"], "name one"),
        (["export", "--user", "a\nb"], "an id is text"),
        (["erase", "--user", "", "--yes"], "an id is text"),
        (["export", "--user", "a", "/nowhere/at/all"], "No such file"),
    ],
)
async def test_what_an_operator_gets_wrong(operator: Operator, words: list[str], said: str) -> None:
    ran = await operator.run(*words)
    assert ran.code != 0
    assert said in ran.err


def test_whose_an_action_is() -> None:
    now = datetime.now(UTC)
    key = b"k" * 32

    def action(subject: str, **who: str) -> Action:
        return Action("a", "event.tracked", subject, now, now, 0, b"{}", **who)

    erased = Erased(1, key, [tombstones.digest(key, name) for name in ("user:u", "anonymous:d", "session:s")])
    assert erased.cleared(action("session:x", user_id="u")) is None
    assert erased.cleared(action("user:u")) is None
    assert erased.cleared(action("session:x", anonymous_id="d")) is None
    assert erased.cleared(action("session:s")) is None
    for other in (action("session:s", user_id="v", anonymous_id="d"), action("session:u"), action("org:u")):
        assert erased.cleared(other) is other
    cleared = erased.cleared(action("org:o", user_id="u"))
    assert cleared is not None
    assert cleared.user_id is None
    assert not Erased()


async def test_tombstones_of_sessions_end(pipe: Service) -> None:
    await lived(pipe, ANN)
    await erase(pipe)
    before = await pipe.sql.fetchval("SELECT count(*) FROM tombstones")
    await pipe.sql.execute("UPDATE tombstones SET until = $1 WHERE until IS NOT NULL", datetime.now(UTC) - timedelta(1))
    await erase(pipe, "nobody")
    assert await pipe.sql.fetchval("SELECT count(*) FROM tombstones WHERE until IS NOT NULL") == 0
    assert await pipe.sql.fetchval("SELECT count(*) FROM tombstones") < before + 1
