"""Who listens to whom in one API process: each subject's stream is read once, for all who listen to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from api import errors
from api.errors import Problem
from api.live import event_stream
from api.live.listener import Listener
from db import ending, keys, listening, live, log, metrics, stream
from db.live import AGAIN, MARK, Entry
from db.stream import Position

logger = log.get("live")

PER_SUBJECT: Final = 10
"""Open streams of one user or organisation in one process: some tabs on some devices."""
POLL_SECONDS: Final = 3.0
"""How often every stream is read without being told, in case that a message was lost."""
KEEP_SECONDS: Final = 60.0
"""How often Redis is told who is still listened to."""
CHUNK: Final = 200
LOADS: Final = 4
"""States that are read at once after a loss; Postgres has ten connections for all of this process."""
STABLE: Final = 3

_warn = log.Seldom(logger, seconds=10)


class Topic:
    """One subject that somebody here listens to."""

    __slots__ = ("lost", "name", "partition", "position", "readers")

    def __init__(self, name: str, partition: int) -> None:
        self.name, self.partition = name, partition
        self.readers: set[Listener] = set()
        self.position: Position | None = None
        """Up to where it was read for all; None until the first listener has begun."""
        self.lost = False
        """Where it was read to is not kept any more: its state is being read."""


class Audience:
    """One API process's ear on the live streams. `state` reads the events that tell a subject's state as it is."""

    def __init__(
        self, client: Redis, partitions: int, most: int, state: Callable[[str], Awaitable[list[bytes]]]
    ) -> None:
        self.client, self.partitions, self.most, self._state = client, partitions, most, state
        self._topics: dict[str, Topic] = {}
        self._listeners: set[Listener] = set()
        self._dirty: set[str] = set()
        self._wake = asyncio.Event()
        self._loads = asyncio.Semaphore(LOADS)
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to listen."""
        for run in (self._listen, self._read, self._look):
            self._tasks.add(asyncio.create_task(run(), name=f"live-{run.__name__}"))

    def close(self) -> None:
        """End all streams at once; their clients come back to another process."""
        self._closing = True
        for listener in list(self._listeners):
            listener.end("closing")

    async def stop(self) -> None:
        """Stop listening."""
        self.close()
        for task in list(self._tasks):  # a state that is being read ends, and leaves, meanwhile
            await ending.ended(task)

    def admit(self, request: web.Request, subjects: Sequence[str]) -> Listener:
        """A new listener, to be given back by `leave`. Raises Problem 429 or 503."""
        if self._closing:
            raise Problem("not_ready", "shutting down")
        if self._open(subjects[0]) >= PER_SUBJECT:
            raise Problem(
                "too_many_streams",
                f"{PER_SUBJECT} streams of this subject are open: close one, or share one between tabs",
                headers={"Retry-After": "15"},
            )
        if len(self._listeners) >= self.most:
            raise Problem("streams_full", "this process holds as many open streams as it may")
        listener = Listener(request, subjects)
        self._listeners.add(listener)
        for subject in subjects:
            if subject not in self._topics:
                self._topics[subject] = Topic(subject, stream.partition_of(subject, self.partitions))
            self._topics[subject].readers.add(listener)
        metrics.LIVE.inc()
        return listener

    def _open(self, owner: str) -> int:
        """Open streams of one owner; those whose client has just left do not count."""
        topic = self._topics.get(owner)
        readers = topic.readers if topic else ()
        return sum(one.owner == owner and one.ended is None and not one.gone for one in readers)

    def leave(self, listener: Listener) -> None:
        """It is over."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            metrics.LIVE.dec()
            metrics.LIVE_ENDED.labels(listener.ended or "gone").inc()
        for subject in listener.positions:
            topic = self._topics.get(subject)
            if topic is not None:
                topic.readers.discard(listener)
                if not topic.readers:
                    del self._topics[subject]

    async def begin(self, listener: Listener, last: Mapping[str, Position]) -> None:
        """What it is sent first: what changed since `last`, where that is still kept; else the state as it is."""
        for subject in listener.positions:
            topic = self._topics[subject]
            entries = await self._since(topic, last[subject]) if subject in last else None
            if entries is None:
                listener.begin(subject, *await self._current(topic))
            else:
                listener.positions[subject] = last[subject]
                listener.push(subject, _events(entries))
            await self._overtake(topic, listener)

    async def _overtake(self, topic: Topic, listener: Listener) -> None:
        """From here on what is read for all is for this one, too: first read what was read for all in the meantime."""
        while (held := listener.positions[topic.name]) is not None:
            if topic.position is None:
                topic.position = held
            if held >= topic.position or topic.lost:
                return
            entries = await self._since(topic, held)
            if entries is None:
                listener.begin(topic.name, *await self._current(topic))
            else:
                listener.push(topic.name, _events(entries))
                if not entries:
                    return

    async def _since(self, topic: Topic, position: Position) -> list[Entry] | None:
        (entries,) = await live.since(self.client, [(topic.partition, topic.name, position)])
        return None if _is_lost(entries) else entries

    async def _current(self, topic: Topic) -> tuple[Position, list[bytes]]:
        """The newest position that is in the state for certain, and the state; nothing came in between, if possible."""
        before, events = await self._tip(topic), await self._state(topic.name)
        for _ in range(STABLE):
            tip = await self._tip(topic)
            if tip == before:
                break
            before, events = tip, await self._state(topic.name)
        return before, events

    async def _tip(self, topic: Topic) -> Position:
        return (await live.keep(self.client, [(topic.partition, topic.name)]))[0]

    async def _listen(self) -> None:
        """Be told which subjects have something new."""
        while True:
            try:
                async with self.client.pubsub(ignore_subscribe_messages=True) as channel:
                    await channel.subscribe(keys.LIVE_CHANNEL)
                    self._mark(self._topics)
                    async for _, data in listening.messages(channel):
                        if self._topics:
                            self._mark(data.decode().split("\n"))
            except (RedisError, OSError) as error:
                _warn("not listening, trying again", error=str(error) or type(error).__name__)
                await asyncio.sleep(0.2)
            except Exception:
                logger.exception("listening met a fault of its own; trying again")
                await asyncio.sleep(0.2)

    def _mark(self, subjects: Sequence[str] | Mapping[str, Topic]) -> None:
        self._dirty.update(subject for subject in subjects if subject in self._topics)
        if self._dirty:
            self._wake.set()

    async def _look(self) -> None:
        """Look by itself: at streams whose message was lost, at clients that have left, at what Redis forgets."""
        kept = 0.0
        while True:
            await asyncio.sleep(1.0)
            for listener in self._listeners:
                if listener.gone:
                    listener.end("gone")
            kept += 1.0
            if kept % POLL_SECONDS == 0:
                self._mark(self._topics)
            if kept >= KEEP_SECONDS and await self._keep():
                kept = 0.0

    async def _keep(self) -> bool:
        try:
            for chunk in _chunks(list(self._topics.values())):
                await live.keep(self.client, [(topic.partition, topic.name) for topic in chunk])
        except (RedisError, OSError) as error:
            _warn("Redis is away", error=str(error) or type(error).__name__)
            return False
        return True

    async def _read(self) -> None:
        """Read what is new, once for all who listen."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            dirty, self._dirty = self._dirty, set()
            topics = [self._topics[one] for one in dirty if one in self._topics]
            try:
                for chunk in _chunks([one for one in topics if one.position is not None and not one.lost]):
                    await self._catch_up(chunk)
            except (RedisError, OSError) as error:
                _warn("Redis is away", error=str(error) or type(error).__name__)
            except Exception:
                logger.exception("reading met a fault of its own; trying again")

    async def _catch_up(self, topics: Sequence[Topic]) -> None:
        wanted = [(one.partition, one.name, one.position) for one in topics if one.position is not None]
        for topic, entries in zip(topics, await live.since(self.client, wanted), strict=True):
            if entries is None or _is_lost(entries):
                self._restore(topic)
            elif entries:
                topic.position = entries[-1].position
                events = _events(entries)
                for listener in list(topic.readers):
                    listener.push(topic.name, events)

    def _restore(self, topic: Topic) -> None:
        topic.lost = True
        task = asyncio.create_task(self._restored(topic), name="live-restore")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _restored(self, topic: Topic) -> None:
        """The state as it is for all who listen; tried again at the next look when that fails."""
        try:
            async with self._loads:
                topic.position, events = await self._current(topic)
        except Exception as error:
            if not (errors.is_redis_away(error) or errors.is_postgres_away(error)):
                logger.exception("reading a state met a fault of its own; trying again")
            else:
                _warn("cannot read a state, trying again", error=str(error) or type(error).__name__)
            return
        finally:
            topic.lost = False
        for listener in list(topic.readers):
            if listener.positions[topic.name] is not None:
                listener.begin(topic.name, topic.position, events)


def _chunks(topics: list[Topic]) -> list[list[Topic]]:
    return [topics[begin : begin + CHUNK] for begin in range(0, len(topics), CHUNK)]


def _is_lost(entries: Sequence[Entry] | None) -> bool:
    """Whether only the state itself can say what changed."""
    return entries is None or any(entry.event == AGAIN for entry in entries)


def _events(entries: Sequence[Entry]) -> list[tuple[Position, bytes]]:
    return [
        (entry.position, event_stream.event(entry.event, entry.body) if entry.event != MARK else b"")
        for entry in entries
    ]
