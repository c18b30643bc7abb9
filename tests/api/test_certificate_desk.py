"""Drawings are made once and kept, a missing name is asked for once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import msgspec
import nats
import pytest
from nats.aio.msg import Msg

from api.certificates import pdf
from api.certificates import routes as certificates
from api.certificates.routes import DESK, DRAWN_AT_ONCE, DRAWN_WAITING, Desk
from api.certificates.shown import Certificate
from api.errors import Problem
from db.settings import Settings
from jobs.privacy.erasure import Erasure
from tests import nats_server
from tests.api.certified import ONE, REVOKED, URL, see, store, text
from tests.api.service import Service, running

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    made = Desk(settings)
    yield made
    await made.close()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The serials that are drawn, instead of drawing them."""
    drawn: list[str] = []

    def render(certificate: Certificate, url: str, language: str) -> bytes:
        drawn.append(certificate.serial)
        if certificate.serial == "broken":
            raise ValueError("broken")
        return certificate.serial.encode()

    monkeypatch.setattr(pdf, "render", render)
    return drawn


async def test_one_drawing_is_drawn_once(desk: Desk, counted: list[str]) -> None:
    many = await asyncio.gather(*(desk.drawn((replace(ONE), URL, "en")) for _ in range(20)))
    assert set(many) == {ONE.serial.encode()}
    assert counted == [ONE.serial]
    await desk.drawn((REVOKED, URL, "en"))
    assert len(counted) == 2


async def test_the_drawings_that_are_kept_are_the_last_asked_for(desk: Desk, counted: list[str]) -> None:
    for number in range(certificates.DRAWINGS_KEPT + 10):
        await desk.drawn((replace(ONE, serial=str(number)), URL, "en"))
        await desk.drawn((replace(ONE, serial="0"), URL, "en"))
    assert counted.count("0") == 1
    assert len(desk._drawings) == certificates.DRAWINGS_KEPT
    await desk.drawn((replace(ONE, serial="1"), URL, "en"))
    assert counted.count("1") == 2


async def test_a_failed_drawing_is_tried_again(desk: Desk, counted: list[str]) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            await desk.drawn((replace(ONE, serial="broken"), URL, "en"))
    assert counted == ["broken", "broken"]
    assert desk._drawings == {}


async def test_a_crowd_is_told_to_come_back(desk: Desk, counted: list[str]) -> None:
    most = DRAWN_AT_ONCE + DRAWN_WAITING
    wanted = [(replace(ONE, serial=str(number)), URL, "en") for number in range(most + 5)]
    found = await asyncio.gather(*map(desk.drawn, wanted), return_exceptions=True)
    refused = [one for one in found if isinstance(one, Problem)]
    assert [(one.code, one.status) for one in refused] == [("busy", 503)] * 5
    assert len(counted) == most
    assert await desk.drawn(wanted[-1]) == str(most + 4).encode()


async def test_an_erased_one_leaves_the_memory_with_the_first_who_hears_it(service: Service) -> None:
    desk = service.client.server.app[DESK]  # type: ignore[attr-defined]
    gone, other = [await store(service, learner_name="Ada Q. Unmistakable") for _ in range(2)]
    for made in (gone, other):
        assert (await see(service, f"/certificates/{made.serial}.pdf")).status == 200
        desk._names[made.user_id] = "Ada Q. Unmistakable", time.monotonic() + 300
    async with service.sql.acquire() as conn:
        await Erasure(conn, service.redis, gone.user_id, 7).run()
    assert (await see(service, f"/certificates/{gone.serial.lower()}.pdf")).status == 410
    assert {drawing[0].serial for drawing in desk._drawings} == {other.serial}
    assert desk._names.keys() == {other.user_id}


async def test_what_nobody_asks_for_is_not_kept(desk: Desk, counted: list[str]) -> None:
    await desk.drawn((ONE, URL, "en"))
    desk._names["ada"] = "Ada", time.monotonic()
    desk.expire(time.monotonic() + certificates.KEPT_SECONDS - 60)
    assert (len(desk._drawings), len(desk._names)) == (1, 1)
    desk.expire(time.monotonic() + certificates.KEPT_SECONDS + 1)
    assert (desk._drawings, desk._names) == ({}, {})
    assert desk._timer.when() <= asyncio.get_running_loop().time() + certificates.SWEPT_EVERY
    await desk.drawn((ONE, URL, "en"))
    assert counted == [ONE.serial, ONE.serial]


# The name of a learner who has none


async def test_a_missing_name_is_asked_for_once_and_never_waited_for_long(settings: Settings) -> None:
    async with nats_server.running() as url:
        own = settings.model_copy(update={"nats_url": url, "lookup_timeout": 0.3})
        async with running(own) as service:
            asked: list[str] = []
            users = await nats.connect(url)

            async def answer(message: Msg) -> None:
                user = msgspec.json.decode(message.data)["data"]["id"]
                asked.append(user)
                if user == named.user_id:
                    await message.respond(msgspec.json.encode({"id": user, "firstName": "Ada", "lastName": "Lovelace"}))
                elif user == unknown.user_id:
                    await message.respond(b"null")

            named, unknown, silent = [await store(service, learner_name=None) for _ in range(3)]
            own_name = await store(service)
            await users.subscribe("user.get_by_id", cb=answer)
            await users.flush()
            for _ in range(2):
                answered = await see(service, f"/certificates/{named.serial}.json")
                assert answered.body["learnerName"] == "Ada Lovelace"
                for other in (unknown, silent):
                    started = time.monotonic()
                    answered = await see(service, f"/certificates/{other.serial}.json")
                    assert (answered.status, answered.body["learnerName"]) == (200, None)
                    assert time.monotonic() - started < 15
                await see(service, f"/certificates/{own_name.serial}")
            assert asked == [named.user_id, unknown.user_id, silent.user_id]
            assert "Ada Lovelace" in text((await see(service, f"/certificates/{named.serial}.pdf")).body)
            await users.close()


async def test_without_nats_nobody_is_asked(service: Service) -> None:
    assert service.client.server.app[DESK].lookups is None  # type: ignore[attr-defined]
    made = await store(service, learner_name=None)
    assert (await see(service, f"/certificates/{made.serial}.json")).body["learnerName"] is None
