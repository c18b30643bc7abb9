"""Bodies and connections that are broken, hostile, or merely odd."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
import uuid
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from api import inflate, ingest
from tests.api.service import Service

pytestmark = pytest.mark.usefixtures("quiet", "buries_nothing")

GOOD = {"kind": "session.ended", "sessionId": "bodies"}
ONE = json.dumps(GOOD).encode()
MIB = 1024 * 1024


def batch(number: int, session: str = "bodies") -> bytes:
    return json.dumps({"actions": [GOOD | {"sessionId": session}] * number}).encode()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"  \n", 400, "malformed_json"),
        (b"{", 400, "malformed_json"),
        (ONE[:-3], 400, "malformed_json"),
        (ONE + b"x", 400, "malformed_json"),
        (b"\xef\xbb\xbf" + ONE, 400, "malformed_json"),
        (ONE.decode().encode("utf-16"), 400, "malformed_json"),
        (b"\x00" + ONE, 400, "malformed_json"),
        (b"\xff\xfe\xfd", 400, "malformed_json"),
        (b"{'kind':'session.ended'}", 400, "malformed_json"),
        (b'{"kind":"session.ended","sessionId":"a\x01b"}', 400, "malformed_json"),
        (b"[" * 100_000, 422, "invalid_action"),
        (b'{"actions":[' * 50_000, 400, "too_deep"),
        (b'{"kind":"event.tracked","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "too_deep"),
        (b"null", 422, "invalid_action"),
        (b"[]", 422, "invalid_action"),
        (b"7", 422, "invalid_action"),
        (b'"text"', 422, "invalid_action"),
        (b"NaN", 422, "not_finite"),
        (b"{}", 422, "unknown_kind"),
        (b'{"actions":[]}', 422, "empty_batch"),
        (b'{"actions":[ ],"x":NaN}', 422, "empty_batch"),
        (b'{"actions":{}}', 422, "invalid_body"),
        (b'{"actions":null}', 422, "invalid_body"),
        (b'{"actions":[' + ONE + b'],"kind":"session.ended"}', 422, "invalid_body"),
        (b'{"actions":[' + ONE + b'],"userId":"u"}', 422, "invalid_body"),
        (b'{"actions":[' + ONE + b'],"colour":1}', 422, "invalid_body"),
        (batch(1001), 413, "too_many_actions"),
        (batch(1001)[:-2] + b',{"id":NaN}]}', 413, "too_many_actions"),
    ],
)
async def test_refused_whole(service: Service, body: bytes, status: int, code: str) -> None:
    answer = await service.send(body)
    assert (answer.status, answer.error["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "empty_batch"),
        (b"\n\r\n \n", 422, "empty_batch"),
        (b"no\njson", 400, "malformed_json"),
        (b"null\n{}", 422, "invalid_action"),
        ((ONE + b"\n") * 1001, 413, "too_many_actions"),
    ],
)
async def test_lines_refused_whole(service: Service, body: bytes, status: int, code: str) -> None:
    answer = await service.send(body, Content_Type="application/x-ndjson")
    assert (answer.status, answer.error["code"]) == (status, code)


async def test_a_thousand_are_taken(service: Service) -> None:
    session = uuid.uuid4().hex
    answer = await service.send(batch(1000, session))
    assert (answer.status, answer.body["accepted"], len(set(answer.body["ids"]))) == (202, 1000, 1000)
    await service.settle(answer)
    assert len(await service.ids(session)) == 1000


@pytest.mark.parametrize("media", ["application/xml", "multipart/form-data; boundary=x", "image/png", "text/html"])
async def test_other_media(service: Service, media: str) -> None:
    for path in ("/v1/actions", "/api/sessions/track-interaction"):
        answer = await service.send(ONE, path, Content_Type=media)
        assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media", ["text/plain;charset=UTF-8", "application/json; charset=latin-1", "garbage", ""])
async def test_media_that_are_understood(service: Service, media: str) -> None:
    assert (await service.send(ONE, Content_Type=media)).status == 202


def peak() -> int:
    """The most memory that this process, server and client in one, ever took."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(ONE), "gzip"),
        (gzip.compress(ONE), "GZip"),
        (gzip.compress(ONE), "x-gzip"),
        (gzip.compress(ONE[:9]) + gzip.compress(ONE[9:]), "gzip"),
        (zlib.compress(ONE), "deflate"),
        (raw_deflate(ONE), "deflate"),
        (ONE, "identity"),
        (ONE, ""),
        (gzip.compress(batch(1000) + b" " * 3 * MIB, 1) + gzip.compress(b" " * MIB, 0), "gzip"),
    ],
)
async def test_codings(service: Service, body: bytes, coding: str) -> None:
    answer = await service.send(body, Content_Encoding=coding)
    assert (answer.status, answer.body["rejected"]) == (202, [])


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (gzip.compress(ONE)[:-1], "gzip", 400, "malformed"),
        (gzip.compress(ONE)[:-8], "gzip", 400, "malformed"),
        (gzip.compress(ONE)[:5], "gzip", 400, "malformed"),
        (gzip.compress(ONE)[:-8] + b"\0" * 8, "gzip", 400, "malformed"),
        (gzip.compress(ONE) + b"more", "gzip", 400, "malformed"),
        (gzip.compress(ONE) * 17, "gzip", 400, "malformed"),
        (zlib.compress(ONE)[:-1], "deflate", 400, "malformed"),
        (ONE, "gzip", 400, "malformed"),
        (ONE, "deflate", 400, "malformed"),
        (gzip.compress(b""), "gzip", 400, "malformed_json"),
        (b"", "gzip", 400, "malformed_json"),
        (gzip.compress(ONE), "identity", 400, "malformed_json"),
        (ONE, "br", 415, "unsupported_media_type"),
        (b"\x28\xb5\x2f\xfdgarbage", "zstd", 415, "unsupported_media_type"),
        (gzip.compress(gzip.compress(ONE)), "gzip, gzip", 415, "unsupported_media_type"),
        (ONE, "nonsense", 415, "unsupported_media_type"),
    ],
)
async def test_broken_codings(service: Service, body: bytes, coding: str, status: int, code: str) -> None:
    answer = await service.send(body, Content_Encoding=coding)
    assert (answer.status, answer.error["code"]) == (status, code)
    if status == 415:
        assert answer.headers["Accept-Encoding"] == "gzip, deflate"


async def test_lines_that_break_off_leave_nothing_behind(service: Service) -> None:
    session = uuid.uuid4().hex
    lines = b"\n".join(json.dumps(GOOD | {"sessionId": session, "id": f"{n}"}).encode() for n in range(500))
    answer = await service.send(
        gzip.compress(lines)[:-20], Content_Encoding="gzip", Content_Type="application/x-ndjson"
    )
    assert (answer.status, answer.error["code"]) == (400, "malformed")
    good = await service.send(GOOD | {"sessionId": session, "id": "last"})
    await service.settle(good)
    assert await service.ids(session) == {"last"}


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_bomb_takes_no_memory(service: Service, coding: str) -> None:
    packer = zlib.compressobj(9, wbits=31 if coding == "gzip" else 15)
    bomb = b"".join(packer.compress(b" " * MIB) for _ in range(200)) + packer.flush()
    assert len(bomb) < MIB
    before = peak()
    answer = await service.send(bomb, Content_Encoding=coding)
    assert (answer.status, answer.error["code"]) == (413, "too_large")
    assert peak() - before < 64 * MIB


async def test_twenty_mebibytes(service: Service) -> None:
    assert (await service.send(ONE + b" " * (20 * MIB - len(ONE)))).status == 202
    answer = await service.send(ONE + b" " * (20 * MIB - len(ONE) + 1))
    assert (answer.status, answer.error["code"]) == (413, "too_large")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(25):
            yield b" " * MIB

    headers = {"Authorization": f"Bearer {service.key}"}
    async with service.client.post("/v1/actions", data=endless(), headers=headers) as response:
        assert response.status == 413
        assert (await response.json())["error"]["code"] == "too_large"


@pytest.mark.parametrize(
    ("body", "media"),
    [
        (b'{"actions":[' + b"{}," * (6 * MIB) + b"{}]}", "application/json"),
        (b"x\n" * (9 * MIB), "application/x-ndjson"),
    ],
)
async def test_millions_of_actions_take_no_memory(service: Service, body: bytes, media: str) -> None:
    before = peak()
    answer = await service.send(body, Content_Type=media)
    assert (answer.status, answer.error["code"]) == (413, "too_many_actions")
    assert peak() - before < 150 * MIB


def test_the_bound_is_on_all_members_together() -> None:
    half = gzip.compress(b" " * 600)
    assert inflate.inflate(half, "gzip", 1000) == b" " * 600
    with pytest.raises(Exception, match="larger than 1000"):
        inflate.inflate(half * 2, "gzip", 1000)


class Wire:
    """A connection on which anything can be said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self.reader, self.writer, self.key = reader, writer, key

    async def say(self, *lines: str, body: bytes = b"") -> None:
        head = [*lines, "Host: x", f"Authorization: Bearer {self.key}", "", ""]
        self.writer.write("\r\n".join(head).encode("latin-1") + body)
        await self.writer.drain()

    async def hear(self) -> tuple[int, dict[str, str], Any]:
        """One answer: status, headers, JSON."""
        async with asyncio.timeout(60):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            content = await self.reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, json.loads(content)

    async def closed(self) -> bool:
        """Whether the other side hangs up, having nothing more to say."""
        async with asyncio.timeout(60):
            return await self.reader.read() == b""


@asynccontextmanager
async def wire(service: Service) -> AsyncIterator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.client.port)
    try:
        yield Wire(reader, writer, service.key)
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


POST = "POST /v1/actions HTTP/1.1"
LENGTH = f"Content-Length: {len(ONE)}"


async def test_a_body_that_stops_half_way(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "BODY_SECONDS", 0.3)
    async with wire(service) as slow:
        await slow.say(POST, LENGTH, body=ONE[:5])
        other = asyncio.create_task(service.send(ONE))
        assert (await other).status == 202
        status, headers, body = await slow.hear()
        assert (status, body["error"]["code"], headers["connection"]) == (408, "body_timeout", "close")
        assert await slow.closed()


async def test_who_hangs_up_leaves_nothing_behind(service: Service) -> None:
    session = uuid.uuid4().hex
    body = json.dumps(GOOD | {"sessionId": session, "id": "half"}).encode()
    async with wire(service) as gone:
        await gone.say(POST, f"Content-Length: {len(body) + 10}", body=body)
    good = await service.send(GOOD | {"sessionId": session, "id": "whole"})
    await service.settle(good)
    assert await service.ids(session) == {"whole"}


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["NONSENSE"], b""),
        (["\x16\x03\x01\x02\x00\x01"], b""),
        ([POST, "Content-Length: many"], ONE),
        ([POST, "Content-Length: -1"], ONE),
        ([POST, LENGTH, "Content-Length: 3"], ONE),
        ([POST, "Transfer-Encoding: chunked"], b"zz\r\nnothing\r\n0\r\n\r\n"),
        ([POST, "Transfer-Encoding: chunked", LENGTH], b"0\r\n\r\n"),
        ([POST, "Transfer-Encoding: gzip"], ONE),
        ([POST, "Bad Header: x"], ONE),
        ([POST, "X-Long: " + "x" * 10_000], ONE),
        (["GET /" + "x" * 10_000 + " HTTP/1.1"], b""),
    ],
)
async def test_no_http(service: Service, lines: list[str], body: bytes) -> None:
    async with wire(service) as odd:
        await odd.say(*lines, body=body)
        status, headers, answer = await odd.hear()
        assert (status, answer["error"]["code"], headers["connection"]) == (400, "malformed", "close")
        assert await odd.closed()


async def test_a_length_that_is_too_short(service: Service) -> None:
    async with wire(service) as odd:
        await odd.say(POST, "Content-Length: 5", body=ONE)
        assert (await odd.hear())[0] == 400
        async with asyncio.timeout(60):
            assert (await odd.reader.read())[:12] in {b"", b"HTTP/1.1 400", b"HTTP/1.0 400"}, "the rest is no request"


async def test_chunks(service: Service) -> None:
    async with wire(service) as one:
        chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in ONE) + b"0\r\n\r\n"
        await one.say(POST, "Transfer-Encoding: chunked", body=chunked)
        assert (await one.hear())[0] == 202
        await one.say(POST, LENGTH, body=ONE)
        assert (await one.hear())[0] == 202, "the connection stays"


async def test_requests_in_a_row_without_waiting(service: Service) -> None:
    session = uuid.uuid4().hex
    async with wire(service) as eager:
        for number in range(50):
            body = json.dumps(GOOD | {"sessionId": session, "id": f"{number}"}).encode()
            if number % 5 == 4:
                body = b"{no json}"
            await eager.say(POST, f"Content-Length: {len(body)}", body=body)
        answers = [await eager.hear() for _ in range(50)]
    assert [status for status, _, _ in answers] == [400 if number % 5 == 4 else 202 for number in range(50)]
    assert [body["ids"] for status, _, body in answers if status == 202] == [
        [f"{number}"] for number in range(50) if number % 5 != 4
    ]


async def test_who_asks_before_sending(service: Service) -> None:
    async with wire(service) as careful:
        await careful.say(POST, LENGTH, "Expect: 100-continue")
        async with asyncio.timeout(60):
            assert b"100 Continue" in await careful.reader.readuntil(b"\r\n\r\n")
        careful.writer.write(ONE)
        assert (await careful.hear())[0] == 202
    async with wire(service) as odd:
        await odd.say(POST, LENGTH, "Expect: a-miracle", body=ONE)
        assert b" 417 " in await odd.reader.readuntil(b"\r\n")


async def test_without_a_key_no_body_is_read(service: Service) -> None:
    async with wire(service) as stranger:
        stranger.key = "mp_" + "x" * 43
        await stranger.say(POST, "Content-Length: 1000000", body=b"[" * 1000)
        status, headers, body = await stranger.hear()
        assert (status, body["error"]["code"]) == (401, "invalid_key")
        assert headers["www-authenticate"].startswith("Bearer")
