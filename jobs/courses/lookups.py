"""What other services know: courses, lessons and users by request-reply over NATS.

One request is understood by plain responders and by those of NestJS: `{"pattern": …, "data": {"id": …}, "id": …}`.
NestJS reads `data` and hands the outer `id` back unread, so that it can be the wanted one again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
import nats
from nats.aio.client import Client

from db import log
from jobs.courses.answers import Course, Found, Lesson, NoAnswer, User, read
from jobs.courses.breaker import Breaker

Thing = Literal["course", "lesson", "user"]

SUBJECTS: Final[dict[Thing, str]] = {
    "course": "course.get_by_id",
    "lesson": "lesson.get_by_id",
    "user": "user.get_by_id",
}
SECONDS: Final = 1.0
MOST_AT_ONCE: Final = 256

logger = log.get("lookups")
_warn = log.Seldom(logger, seconds=60)


class Lookups:
    """A client of one process. It connects at the first question, and again by itself; call `close` at the end."""

    def __init__(
        self,
        url: str,
        timeout: float = SECONDS,
        breaker: Callable[[], Breaker] = Breaker,
        *,
        name: str = "milepost-lookups",
    ) -> None:
        """`url` as nats-py takes it, several separated by commas; `timeout` in seconds bounds a whole look-up."""
        self.url, self.timeout, self.name = url, timeout, name
        self.breakers: dict[Thing, Breaker] = {thing: breaker() for thing in SUBJECTS}
        self._client: Client | None = None
        self._connecting: asyncio.Task[Client] | None = None
        self._asking: dict[tuple[Thing, str], asyncio.Task[Any]] = {}

    async def course(self, course_id: str) -> Course | None:
        """The course; None when its service says that there is none. Raises NoAnswer."""
        return await self._once("course", course_id, Course)

    async def lesson(self, lesson_id: str) -> Lesson | None:
        """The lesson, with its `course_id`; None when its service says that there is none. Raises NoAnswer."""
        found = await self._once("lesson", lesson_id, Lesson)
        if found is not None and found.course_id is None:
            raise NoAnswer("lesson.get_by_id answered without a courseId")
        return found

    async def user(self, user_id: str) -> User | None:
        """The user; None when their service says that there is none. Raises NoAnswer."""
        return await self._once("user", user_id, User)

    async def close(self) -> None:
        """End what is under way, and the connection."""
        tasks = [*self._asking.values(), *([self._connecting] if self._connecting else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def _once(self, thing: Thing, wanted: str, form: type[Found]) -> Found | None:
        """Ask once for all who want the same at the moment; whoever gives up waiting ends nobody else's question."""
        task = self._asking.get((thing, wanted))
        if task is None:
            if len(self._asking) >= MOST_AT_ONCE:
                raise NoAnswer(f"{MOST_AT_ONCE} look-ups are under way already")
            task = asyncio.create_task(self._guarded(thing, wanted, form), name="lookup")
            self._asking[thing, wanted] = task
            task.add_done_callback(lambda done: self._asked((thing, wanted), done))
        try:
            found: Found | None = await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_cancelled():
                raise NoAnswer("the look-up was ended: this process stops") from None
            raise
        return found

    def _asked(self, key: tuple[Thing, str], task: asyncio.Task[Any]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever asked may be gone

    async def _guarded(self, thing: Thing, wanted: str, form: type[Found]) -> Found | None:
        """Past the breaker of this service: without an answer, the time-out is paid a few times and then no more."""
        breaker, seconds = self.breakers[thing], asyncio.get_running_loop().time
        if not breaker.allow(seconds()):
            raise NoAnswer(f"{SUBJECTS[thing]} failed {breaker.failures} times: left alone for {breaker.rest:g} s")
        try:
            found = read(await self._ask(SUBJECTS[thing], wanted), wanted, form)
        except NoAnswer as error:
            breaker.failed(seconds())
            _warn(f"no answer from {SUBJECTS[thing]}", error=str(error))
            raise
        breaker.succeeded()
        return found

    async def _ask(self, subject: str, wanted: str) -> bytes:
        try:
            async with asyncio.timeout(self.timeout):
                client = await self._connected()
                # nats-py wants a time-out of its own; the one above rules.
                message = await client.request(subject, _request(subject, wanted), timeout=self.timeout + 1)
        except nats.errors.NoRespondersError:
            raise NoAnswer(f"nobody listens to {subject}") from None
        except TimeoutError:
            raise NoAnswer(f"no answer within {self.timeout:g} s") from None
        except (nats.errors.Error, OSError) as error:
            raise NoAnswer(f"NATS: {error}") from error
        return message.data

    async def _connected(self) -> Client:
        client = self._client
        if client is None or client.is_closed:
            if self._connecting is None or self._connecting.done():
                self._connecting = asyncio.create_task(self._connect(), name="nats")
            client = await asyncio.shield(self._connecting)
        if not client.is_connected:
            raise NoAnswer("the connection to NATS is lost; trying again")
        return client

    async def _connect(self) -> Client:
        """Try until it works: a question waits for no longer than its own time-out."""
        client = await nats.connect(
            servers=[part.strip() for part in self.url.split(",")],
            name=self.name,
            connect_timeout=2,
            reconnect_time_wait=1,
            max_reconnect_attempts=-1,
            error_cb=_noted,
        )
        self._client = client
        return client


def _is_cancelled() -> bool:
    """Whether it is this task that shall end, and not one that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _request(subject: str, wanted: str) -> bytes:
    return msgspec.json.encode({"pattern": subject, "data": {"id": wanted}, "id": wanted})


async def _noted(error: Exception) -> None:
    """nats-py tries again by itself."""
    _warn("NATS is away", error=str(error) or type(error).__name__)
