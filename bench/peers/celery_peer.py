"""Celery on Redis: one task per event, prefork, one psycopg connection per process."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
from celery import Celery
from celery.signals import worker_process_init

from bench.peers import harness

CONFIG = harness.configure({"concurrency": 2, "prefetch_multiplier": 64, "pool": "prefork", "enqueue_threads": 1})
APP = Celery("peer", broker=CONFIG.redis_url)
APP.conf.update(
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    task_acks_late=False,
    task_default_delivery_mode="transient",
    worker_prefetch_multiplier=CONFIG.settings["prefetch_multiplier"],
    worker_send_task_events=False,
    task_send_sent_event=False,
    worker_enable_remote_control=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_pool_limit=CONFIG.settings["enqueue_threads"] + 1,
)
CONNECTIONS: list[psycopg.Connection[Any]] = []


@worker_process_init.connect
def connect(**_: object) -> None:
    CONNECTIONS.append(psycopg.connect(CONFIG.database_url, autocommit=True, prepare_threshold=0))


@APP.task(name="store")
def store(event: dict[str, Any]) -> None:
    if not CONNECTIONS:
        connect()
    CONNECTIONS[0].execute(harness.INSERT_PSYCOPG, event)


def publish(events: Sequence[harness.Event]) -> None:
    """One producer for many tasks, as Celery's guide on optimising says."""
    with APP.producer_pool.acquire(block=True) as producer:
        for event in events:
            store.apply_async((event,), producer=producer, retry=False)


async def enqueue(events: Sequence[harness.Event]) -> None:
    threads = CONFIG.settings["enqueue_threads"]
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(threads) as executor:
        await asyncio.gather(*(loop.run_in_executor(executor, publish, events[n::threads]) for n in range(threads)))


WORKER = [
    "-m", "celery", "-A", "bench.peers.celery_peer:APP", "worker", "--pool", CONFIG.settings["pool"],
    "--concurrency", str(CONFIG.settings["concurrency"]),
    "--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING",
]  # fmt: skip

if __name__ == "__main__":
    harness.main(harness.Peer("celery", ("celery",), WORKER, enqueue), CONFIG)
