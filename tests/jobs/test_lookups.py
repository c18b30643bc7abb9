"""Look-ups against a real NATS server: who answers, who says no, and everybody who does neither."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import hypothesis.strategies as st
import msgspec
import nats
import pytest
from hypothesis import given
from nats.aio.client import Client
from nats.aio.msg import Msg

from db import ports
from jobs.courses.answers import Course, Lesson, NoAnswer, User, read
from jobs.courses.breaker import Breaker
from jobs.courses.lookups import SUBJECTS, Lookups
from tests import nats_server

COURSE = {
    "id": "c1",
    "title": "Pottery",
    "lessons": [{"id": "l1", "title": "Clay", "durationSeconds": 90}, {"id": "l2", "title": "Kiln"}],
}
POTTERY = Course("c1", "Pottery", (Lesson("l1", "Clay", None, 90), Lesson("l2", "Kiln")))


@pytest.fixture(scope="module")
async def url() -> AsyncIterator[str]:
    async with nats_server.running() as found:
        yield found


@asynccontextmanager
async def service(url: str, subject: str, answer: Callable[[Msg], Awaitable[bytes | None]]) -> AsyncIterator[Client]:
    """A service beside us; an answer of None is silence."""
    client = await nats.connect(url)

    async def respond(message: Msg) -> None:
        if (body := await answer(message)) is not None:
            await message.respond(body)

    await client.subscribe(subject, cb=respond)
    await client.flush()
    try:
        yield client
    finally:
        await client.close()


def fixed(body: Any) -> Callable[[Msg], Awaitable[bytes | None]]:
    async def answer(_: Msg) -> bytes | None:
        return body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)

    return answer


@asynccontextmanager
async def asking(url: str, timeout: float = 60.0, breaker: Callable[[], Breaker] = Breaker) -> AsyncIterator[Lookups]:
    lookups = Lookups(url, timeout, breaker)
    try:
        yield lookups
    finally:
        await lookups.close()


async def test_a_plain_service_finds_the_id_where_it_looks_for_it(url: str) -> None:
    async def answer(message: Msg) -> bytes:
        wanted = msgspec.json.decode(message.data)["id"]
        return msgspec.json.encode({**COURSE, "id": wanted, "price": 12})

    async with service(url, "course.get_by_id", answer), asking(url) as lookups:
        assert await lookups.course("c1") == POTTERY
        assert await lookups.course("Größe/1 ☃") == msgspec.structs.replace(POTTERY, id="Größe/1 ☃")


async def test_a_service_of_nestjs_is_asked_and_read_as_one(url: str) -> None:
    async def answer(message: Msg) -> bytes:
        packet = msgspec.json.decode(message.data)
        assert packet["pattern"] == message.subject
        lesson = {"id": packet["data"]["id"], "courseId": 7, "title": "Clay", "durationSeconds": 90.5}
        return msgspec.json.encode({"response": lesson, "isDisposed": True, "id": packet["id"]})

    async with service(url, "lesson.get_by_id", answer), asking(url) as lookups:
        assert await lookups.lesson("l1") == Lesson("l1", "Clay", "7", 90.5)


@pytest.mark.parametrize(
    "answer",
    [
        COURSE,
        {"response": COURSE, "isDisposed": True, "id": "c1"},
        {"response": COURSE, "isDisposed": False, "id": "c1"},
        {"success": True, "message": "found", "data": COURSE},
        {"response": {"success": True, "data": COURSE}, "isDisposed": True},
        {"err": None, "response": COURSE, "isDisposed": True},
    ],
    ids=str,
)
def test_envelopes(answer: Any) -> None:
    assert read(msgspec.json.encode(answer), "c1", Course) == POTTERY


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"response": None, "isDisposed": True, "id": "c1"},
        {"isDisposed": True, "id": "c1"},
        {"success": True, "data": None},
        {"success": False, "statusCode": 404, "message": "no such course"},
        {"statusCode": 404, "message": "no such course", "error": "Not Found"},
        {"err": {"status": 404, "message": "no such course"}, "isDisposed": True},
        {"err": "Not Found", "isDisposed": True},
        {"error": {"code": "not_found", "message": "no such course"}},
    ],
    ids=str,
)
def test_no_such_thing(answer: Any) -> None:
    assert read(msgspec.json.encode(answer), "c1", Course) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b'{"id":"c1","title":"\\ud800"}',
        b"[" * 100_000,
        b"17",
        b'"c1"',
        b"[]",
        b"{}",
        b'{"id":"c2","title":"another"}',
        b'{"id":"","title":"none"}',
        b'{"id":true,"title":"none"}',
        b'{"id":"c1","title":7}',
        b'{"id":"c1","title":"x","lessons":{}}',
        b'{"id":"c1","title":"x","lessons":[{"title":"no id"}]}',
        b'{"id":"c1","title":"x","lessons":[{"id":"l1","title":"x","durationSeconds":-1}]}',
        b'{"id":"c1","title":"x","lessons":[{"id":"l\\u0000","title":"x"}]}',
        b'{"id":"c1","title":"%s"}' % (b"x" * 501),
        b'{"success":false,"message":"the database is down","data":null}',
        b'{"err":{"status":"error","message":"Internal server error"},"isDisposed":true}',
        b'{"statusCode":500,"message":"Internal server error"}',
        b'{"error":"timeout"}',
    ],
    ids=lambda body: repr(body[:60]),
)
def test_garbage_is_no_answer(body: bytes) -> None:
    with pytest.raises(NoAnswer):
        read(body, "c1", Course)


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 500) | st.sampled_from(["c1", "", "Not Found", "\0", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["id", "title", "lessons", "response", "data", "err", "error", "isDisposed", "success", "code"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(_json)
def test_whatever_comes_is_a_course_none_or_no_answer(answer: Any) -> None:
    try:
        found = read(msgspec.json.encode(answer), "c1", Course)
    except NoAnswer:
        return
    assert found is None or found.id == "c1"


def test_text_is_fit_for_postgres() -> None:
    found = read(b'{"id":"c1","title":" A\\u0000B\\nC ","lessons":[{"id":3,"title":"\\u0007"}]}', "c1", Course)
    assert found == Course("c1", "A B C", (Lesson("3", ""),))


@pytest.mark.parametrize(
    ("fields", "display"),
    [
        ({}, None),
        ({"name": ""}, None),
        ({"name": "Ada Lovelace"}, "Ada Lovelace"),
        ({"firstName": "Ada", "lastName": "Lovelace"}, "Ada Lovelace"),
        ({"lastName": "Lovelace"}, "Lovelace"),
        ({"fullName": "Ada King", "name": "ada"}, "Ada King"),
        ({"name": "Ada\u0000\r\nLovelace"}, "Ada Lovelace"),
    ],
)
async def test_the_name_to_show(url: str, fields: dict[str, str], display: str | None) -> None:
    async with service(url, "user.get_by_id", fixed({"id": "u", **fields})), asking(url) as lookups:
        found = await lookups.user("u")
        assert isinstance(found, User)
        assert found.display == display


async def test_nobody_listens(url: str) -> None:
    """The server says so: nobody waits for the time-out."""
    async with asking(url) as lookups:
        with pytest.raises(NoAnswer, match="nobody listens to course"):
            await asyncio.wait_for(lookups.course("c1"), 20)


async def test_a_silent_service_costs_the_time_out_and_no_more(url: str) -> None:
    async with service(url, "user.get_by_id", fixed(None)), asking(url, timeout=0.1) as lookups:
        started = time.monotonic()
        with pytest.raises(NoAnswer, match="within"):
            await lookups.user("u")
        assert 0.1 <= time.monotonic() - started < 10


async def test_a_lesson_without_its_course_is_no_answer(url: str) -> None:
    async with service(url, "lesson.get_by_id", fixed({"id": "l1", "title": "Clay"})), asking(url) as lookups:
        with pytest.raises(NoAnswer, match="courseId"):
            await lookups.lesson("l1")


async def test_a_huge_answer_is_not_read(url: str) -> None:
    lessons = [{"id": f"l{number}", "title": "x" * 400} for number in range(2_000)]
    async with service(url, "course.get_by_id", fixed({**COURSE, "lessons": lessons})), asking(url) as lookups:
        found = await lookups.course("c1")
    assert found is not None
    assert len(found.lessons) == 2_000
    with pytest.raises(NoAnswer, match="too long"):
        read(b" " * (1 << 20) + b"{}", "c1", Course)


async def test_the_same_question_is_asked_once(url: str) -> None:
    asked: list[str] = []
    arrived, gate = asyncio.Event(), asyncio.Event()

    async def answer(message: Msg) -> bytes:
        asked.append(message.subject)
        arrived.set()
        await gate.wait()
        return msgspec.json.encode(COURSE)

    async with service(url, "course.get_by_id", answer), asking(url, timeout=60) as lookups:
        many = [asyncio.create_task(lookups.course("c1")) for _ in range(20)]
        await asyncio.wait_for(arrived.wait(), 60)
        many[0].cancel()  # whoever gives up ends nobody else's question
        gate.set()
        found = await asyncio.gather(*many, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [POTTERY] * 19
    assert asked == ["course.get_by_id"]


async def test_who_still_waits_at_the_end_has_no_answer(url: str) -> None:
    arrived = asyncio.Event()

    async def answer(_: Msg) -> None:
        arrived.set()

    async with service(url, "user.get_by_id", answer), asking(url) as lookups:
        waits = asyncio.create_task(lookups.user("u"))
        await asyncio.wait_for(arrived.wait(), 60)
        await lookups.close()
        with pytest.raises(NoAnswer, match="stops"):
            await asyncio.wait_for(waits, 20)


async def test_without_a_server_nothing_hangs_and_one_that_comes_is_found() -> None:
    port = ports.free()
    async with asking(f"nats://127.0.0.1:{port}", 0.2, lambda: Breaker(1000)) as lookups:
        with pytest.raises(NoAnswer):
            await lookups.course("c1")
        async with nats_server.running("-p", str(port)) as url, service(url, "course.get_by_id", fixed(COURSE)):
            assert await _until_answered(lookups) == POTTERY
        with pytest.raises(NoAnswer):
            await lookups.course("c1")
        async with nats_server.running("-p", str(port)) as url, service(url, "course.get_by_id", fixed(COURSE)):
            assert await _until_answered(lookups) == POTTERY


async def _until_answered(lookups: Lookups) -> Course | None:
    async with asyncio.timeout(60):
        while True:
            try:
                return await lookups.course("c1")
            except NoAnswer:
                await asyncio.sleep(0.02)


async def test_one_dead_service_is_left_alone_and_the_others_are_asked(url: str) -> None:
    now = [100.0]

    class Clocked(Breaker):
        def allow(self, _: float) -> bool:
            return super().allow(now[0])

        def failed(self, _: float) -> None:
            super().failed(now[0])

    asked: list[bytes] = []
    bodies = [b"broken", b"broken", b"broken", msgspec.json.encode(COURSE)]

    async def answer(message: Msg) -> bytes:
        asked.append(message.data)
        return bodies[len(asked) - 1]

    async with (
        service(url, "course.get_by_id", answer),
        service(url, "user.get_by_id", fixed({"id": "u"})),
        asking(url, breaker=lambda: Clocked(2, 10)) as lookups,
    ):
        for _ in range(5):
            with pytest.raises(NoAnswer):
                await lookups.course("c1")
        assert len(asked) == 2
        assert await lookups.user("u") == User("u")
        now[0] += 10
        for _ in range(3):
            with pytest.raises(NoAnswer):
                await lookups.course("c1")
        assert len(asked) == 3
        now[0] += 10
        assert await lookups.course("c1") == POTTERY
        assert lookups.breakers["course"].state(now[0]) == "closed"


def test_a_service_that_says_no_is_well() -> None:
    assert read(b"null", "c1", Course) is None
    assert set(SUBJECTS.values()) == {"course.get_by_id", "lesson.get_by_id", "user.get_by_id"}


# The breaker, against time passed in


def test_the_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = Breaker(3, 10)
    for _ in range(4):
        breaker.failed(0)
        breaker.failed(0)
        breaker.succeeded()
    assert breaker.allow(0)
    for _ in range(3):
        breaker.failed(0)
    assert [breaker.allow(now) for now in (0, 5, 9.9)] == [False, False, False]
    assert breaker.state(5) == "open"


def test_one_probe_decides() -> None:
    breaker = Breaker(1, 10)
    breaker.failed(0)
    assert breaker.state(10) == "half-open"
    assert [breaker.allow(10), breaker.allow(10), breaker.allow(19)] == [True, False, False]
    breaker.failed(12)
    assert [breaker.allow(21.9), breaker.allow(22), breaker.allow(22)] == [False, True, False]
    breaker.succeeded()
    assert [breaker.allow(23), breaker.allow(23)] == [True, True]


def test_a_probe_that_never_reports_blocks_nobody() -> None:
    breaker = Breaker(1, 10)
    breaker.failed(0)
    assert [breaker.allow(now) for now in (10, 15, 20, 20)] == [True, False, True, False]


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(["ask", "well", "ill"])), max_size=60))
def test_an_open_breaker_lets_one_call_out_in_each_rest(steps: list[tuple[float, str]]) -> None:
    breaker, now = Breaker(2, 10), 0.0
    passed: list[float] = []
    for gone, step in steps:
        now += gone
        if step == "ill":
            breaker.failed(now)
        elif step == "well":
            breaker.succeeded()
            passed.clear()
        elif breaker.state(now) != "closed" and breaker.allow(now):
            assert all(now - before >= 10 for before in passed)
            passed.append(now)
