"""Signatures by the letter of Standard Webhooks, verified by its own libraries for Python and JavaScript."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from jobs.effects import delivery, webhooks
from jobs.effects import effect as effects
from jobs.effects.delivery import Attempt, Delivery
from tests import tools

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def claimed(**changes: Any) -> Delivery:
    """A delivery to a webhook."""
    made = Delivery(
        id=uuid4(),
        destination=uuid4(),
        sort="webhook",
        url="http://127.0.0.1/",
        secret=SECRET,
        previous_secret=None,
        failures=0,
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        subject="user:u",
        type="certificate.issued",
        at=NOW,
        data='{"test": 2432232314}',
        tries=0,
        lease=NOW,
    )
    return made._replace(**changes)


def test_the_vector_of_the_specification() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    found = webhooks.headers(claimed(), b'{"test": 2432232314}', at)
    assert found == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_fraction_of_a_second_does_not_change_what_is_signed() -> None:
    at = datetime.now(UTC).replace(microsecond=999_999)
    one = claimed()
    Webhook(SECRET).verify(one.body(), dict(webhooks.headers(one, one.body(), at)))


def test_two_secrets_two_signatures_and_no_trailing_space() -> None:
    other = webhooks.new_secret()
    now, one = datetime.now(UTC), claimed(previous_secret=other)
    found = dict(webhooks.headers(one, one.body(), now))
    assert found["webhook-signature"].count("v1,") == 2
    assert found["webhook-signature"] == found["webhook-signature"].strip()
    for secret in (SECRET, other):
        Webhook(secret).verify(one.body(), found)
    with pytest.raises(WebhookVerificationError):
        Webhook(webhooks.new_secret()).verify(one.body(), found)


def test_a_secret_is_32_random_bytes() -> None:
    made = {webhooks.new_secret() for _ in range(50)}
    assert len(made) == 50
    assert all(len(base64.b64decode(one.removeprefix("whsec_"), validate=True)) == 32 for one in made)


@given(st.text(), st.text())
def test_an_id_is_stable_and_nothing_in_it_needs_care(subject: str, name: str) -> None:
    subject, name = subject.encode(errors="replace").decode(), name.encode(errors="replace").decode()
    found = effects.message_id(subject, name)
    assert found == effects.message_id(subject, name)
    assert found.removeprefix("msg_").isalnum()
    assert found != effects.message_id(subject + "x", name)


def test_ids_of_different_pairs_differ() -> None:
    assert effects.message_id("a", "bc") != effects.message_id("ab", "c")


_JS = """
import { Webhook } from "standardwebhooks";
import { createServer } from "node:http";
const hook = new Webhook(process.argv[2]);
const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  try {
    const got = hook.verify(Buffer.concat(parts).toString(), request.headers);
    response.end(JSON.stringify({ verified: got }));
  } catch (error) { response.statusCode = 400; response.end(String(error)); }
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the specification's own library for JavaScript."""
    folder = tools.node_modules(tmp_path_factory.mktemp("node"))
    (folder / "receiver.mjs").write_text(_JS)
    return folder


@pytest.mark.parametrize("right", [True, False])
async def test_the_library_for_javascript_verifies_a_real_delivery(node: Path, right: bool) -> None:
    from jobs.effects import posting
    from jobs.effects.addresses import Guard

    words = ("node", "receiver.mjs", SECRET if right else webhooks.new_secret())
    process = await asyncio.create_subprocess_exec(*words, cwd=node, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(await process.stdout.readline())
        one = claimed(url=f"http://127.0.0.1:{port}/", data='{"name": "Zoë „𝄞“", "n": 1.5}', previous_secret=None)
        async with posting.session(Guard(["127.0.0.0/8"])) as client:
            attempt = await webhooks.send(client, one, 10)
    finally:
        process.kill()
        await process.wait()
    assert attempt.status == (200 if right else 400), attempt
    if right:
        assert json.loads(attempt.response or "")["verified"] == json.loads(one.body())


# When the next try is due.


def test_the_delays_are_those_of_the_specification() -> None:
    failed = Attempt(NOW, 1, 500)
    found = [delivery.delay(tries, failed) for tries in range(1, 10)]
    assert None not in found
    expected = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert all(0.8 * wanted <= (got or 0) <= 1.2 * wanted for wanted, got in zip(expected, found, strict=True))
    assert delivery.delay(10, failed) is None
    assert len({delivery.delay(2, failed) for _ in range(20)}) > 10, "jitter"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("-5", 0),
        ("1e9", 86400),
        ("inf", 86400),
        ("nan", 0),
        ("soon", 0),
        ("", 0),
        (None, 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015", 0),
        ("Mon, 01 Jan 2999 00:00:00 GMT", 86400),
    ],
)
def test_retry_after(header: str | None, seconds: float) -> None:
    assert delivery.retry_after(header) == seconds


def test_retry_after_as_a_date() -> None:
    at = (datetime.now(UTC) + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert 85 < delivery.retry_after(at) <= 90


def test_retry_after_only_ever_makes_it_later() -> None:
    assert (delivery.delay(3, Attempt(NOW, 1, 429, retry_after=1.0)) or 0) >= 1440
    assert delivery.delay(1, Attempt(NOW, 1, 429, retry_after=600.0)) == 600


@pytest.mark.parametrize(
    ("status", "error", "ok", "ailing"),
    [
        *((200, None, 1, 0), (299, None, 1, 0), (301, "x", 0, 0), (404, None, 0, 0), (410, None, 0, 0)),
        *((429, None, 0, 1), (500, None, 0, 1), (503, None, 0, 1), (199, None, 0, 0)),
        *((None, "no answer", 0, 1), (None, None, 1, 0)),
    ],
)
def test_what_an_attempt_means(status: int | None, error: str | None, ok: int, ailing: int) -> None:
    attempt = Attempt(NOW, 1, status, error)
    assert (attempt.ok, attempt.ailing, attempt.gone) == (bool(ok), bool(ailing), status == 410)


@given(st.binary(max_size=3000))
def test_text_of_a_stranger_is_what_postgres_takes(value: bytes) -> None:
    found = delivery.text(value)
    assert len(found) <= 1024
    assert "\0" not in found
    found.encode()
