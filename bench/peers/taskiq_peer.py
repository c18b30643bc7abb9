"""taskiq on Redis (taskiq-redis): one task per event."""

from collections.abc import Sequence

import asyncpg
from taskiq import TaskiqEvents, TaskiqState
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisStreamBroker

from bench.peers import harness

CONFIG = harness.configure(
    {
        "broker": "stream",
        "xread_count": 1000,
        "max_async_tasks": 100,
        "max_prefetch": 100,
        "pool": 10,
        "enqueue_width": 32,
        "workers": 1,
    }
)
harness.use_uvloop()

# "0": a stream worker that starts after the first task must not skip it.
BROKER = (
    ListQueueBroker(CONFIG.redis_url)
    if CONFIG.settings["broker"] == "list"
    else RedisStreamBroker(CONFIG.redis_url, consumer_id="0", xread_count=CONFIG.settings["xread_count"])
).with_serializer(ORJSONSerializer())
POOLS: list[asyncpg.Pool] = []


@BROKER.on_event(TaskiqEvents.WORKER_STARTUP)
async def connect(_: TaskiqState) -> None:
    POOLS.append(await harness.connect_pool(CONFIG))


@BROKER.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def disconnect(_: TaskiqState) -> None:
    await POOLS.pop().close()


@BROKER.task(task_name="store")
async def store(event: dict) -> None:  # type: ignore[type-arg]
    await POOLS[0].execute(harness.INSERT, *harness.row(event))


async def enqueue(events: Sequence[harness.Event]) -> None:
    await harness.spread(events, CONFIG.settings["enqueue_width"], store.kiq)


WORKER = [
    "-m", "taskiq", "worker", "bench.peers.taskiq_peer:BROKER", "--no-parse", "--log-level", "WARNING",
    "--workers", str(CONFIG.settings["workers"]),
    "--max-async-tasks", str(CONFIG.settings["max_async_tasks"]),
    "--max-prefetch", str(CONFIG.settings["max_prefetch"]),
]  # fmt: skip

if __name__ == "__main__":
    harness.main(harness.Peer("taskiq", ("taskiq", "taskiq-redis"), WORKER, enqueue), CONFIG)
