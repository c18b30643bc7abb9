"""Actions that the door must refuse: each alone, and beside good ones that still go in."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from jobs.action import CLAMPED, LATE
from jobs.door import AHEAD, BEHIND
from tests.api.service import Service

pytestmark = pytest.mark.usefixtures("quiet", "buries_nothing")

NESTED = "$.data.properties"


class Bad(NamedTuple):
    """One refused action as JSON text, `@` standing for its envelope's id and session."""

    text: str
    code: str
    path: str | None
    named: bool = True
    """Whether the answer can name the action's id."""


def action(kind: str, data: str = "{}", envelope: str = "") -> str:
    return f'{{"kind":"{kind}",{envelope}@,"data":{data}}}'


def event(properties: str) -> str:
    return action("event.tracked", f'{{"event":"e","properties":{properties}}}')


def interaction(**fields: Any) -> str:
    return action("interaction.recorded", json.dumps({"eventType": "click", "category": "c", **fields}))


def metric(value: str) -> str:
    return action("metric.recorded", f'{{"metricName":"m","value":{value}}}')


def config(fields: str) -> str:
    return action("configuration.saved", f'{{"trigger":"auto_save",{fields}}}')


def at(text: str) -> str:
    return action("session.ended", envelope=f'"at":{text},')


ID = "an id is 1 to 128 characters"
BAD = {
    "unknown kind": Bad(action("nope.never"), "unknown_kind", "$.kind"),
    "no kind": Bad('{@,"data":{}}', "unknown_kind", "$.kind"),
    "kind is a number": Bad('{"kind":7,@}', "invalid_action", "$.kind"),
    "unknown field": Bad('{"kind":"session.ended",@,"colour":"red"}', "invalid_action", "$"),
    "unknown field of data": Bad(action("session.ended", '{"a":1}'), "invalid_data", "$.data"),
    "data is null": Bad(action("session.ended", "null"), "invalid_data", "$.data"),
    "data is a list": Bad(action("session.ended", "[]"), "invalid_data", "$.data"),
    "a field is missing": Bad(action("interaction.recorded"), "invalid_data", "$.data"),
    "wrong type": Bad(interaction(category=1), "invalid_data", "$.data.category"),
    "wrong choice": Bad(interaction(eventType="stare"), "invalid_data", "$.data.eventType"),
    "wrong type inside": Bad(interaction(deviceInfo={"width": "w"}), "invalid_data", "$.data.deviceInfo.width"),
    "bool for int": Bad(interaction(timeSpent=True), "invalid_data", "$.data.timeSpent"),
    "float for int": Bad(interaction(timeSpent=1.5), "invalid_data", "$.data.timeSpent"),
    "int that bigint holds, but no time does": Bad(interaction(timeSpent=2**62), "invalid_data", "$.data.timeSpent"),
    "int beyond bigint": Bad(interaction(timeSpent=2**63), "invalid_data", "$.data.timeSpent"),
    "int beyond 64 bits": Bad(interaction(timeSpent=10**30), "invalid_data", "$.data.timeSpent"),
    "int beyond int": Bad(interaction(deviceInfo={"width": 2**31}), "invalid_data", "$.data.deviceInfo.width"),
    "negative time": Bad(interaction(timeSpent=-1), "invalid_data", "$.data.timeSpent"),
    "empty name": Bad(interaction(category=""), "invalid_data", "$.data.category"),
    "name of 257": Bad(interaction(category="c" * 257), "invalid_data", "$.data.category"),
    "text of 2,049": Bad(interaction(elementId="c" * 2049), "invalid_data", "$.data.elementId"),
    "bool for float": Bad(metric("true"), "invalid_data", "$.data.value"),
    "text for float": Bad(metric('"1"'), "invalid_data", "$.data.value"),
    "float beyond range": Bad(metric("1e400"), "invalid_data", "$.data.value"),
    "400 digits for float": Bad(metric("9" * 400), "invalid_data", "$.data.value"),
    "price beyond range": Bad(config('"configuration":{},"totalPrice":1e16'), "invalid_data", "$.data.totalPrice"),
    "101 percent": Bad(
        config('"configuration":{},"completionPercentage":101'), "invalid_data", "$.data.completionPercentage"
    ),
    "configuration is a list": Bad(config('"configuration":[]'), "invalid_data", "$.data.configuration"),
    "configuration is null": Bad(config('"configuration":null'), "invalid_data", "$.data.configuration"),
    "no configuration": Bad(config('"totalPrice":1'), "invalid_data", "$.data"),
    "properties are a text": Bad(event('"x"'), "invalid_data", NESTED),
    "NaN": Bad(event('{"a":NaN}'), "not_finite", None),
    "NaN as value": Bad(metric("NaN"), "not_finite", None),
    "Infinity": Bad(event('{"a":[Infinity]}'), "not_finite", None),
    "-Infinity": Bad(metric("-Infinity"), "not_finite", None),
    "1e400 in free JSON": Bad(event('{"a":1e400}'), "invalid_data", "$.data[...][...]"),
    "5,000 digits in free JSON": Bad(event('{"a":' + "9" * 5000 + "}"), "invalid_data", "$.data[...][...]"),
    "1e-20000 in free JSON": Bad(event('{"a":1e-20000}'), "invalid_data", "$.data"),
    "1e-99999999999999999999": Bad(event('{"a":1E-99999999999999999999}'), "invalid_data", "$.data"),
    "20,000 digits behind the point": Bad(event('{"a":0.' + "1" * 20_000 + "}"), "invalid_data", "$.data"),
    "digits and exponent together": Bad(event('{"a":0.' + "1" * 15_900 + "e-999}"), "invalid_data", "$.data"),
    "NUL in free JSON": Bad(event('{"a":"x\\u0000y"}'), "bad_text", "$.data"),
    "NUL in a list": Bad(event('{"a":["\\u0000"]}'), "bad_text", "$.data"),
    "NUL in a key": Bad(event('{"a\\u0000":1}'), "bad_text", "$.data"),
    "NUL in a key that comes twice": Bad(event('{"a":"\\u0000","a":1}'), "bad_text", "$.data"),
    "NUL behind an escaped backslash": Bad(event('{"a":"\\\\\\u0000"}'), "bad_text", "$.data"),
    "NUL in a text": Bad(interaction(category="a\0b"), "bad_text", "$.data"),
    "surrogate": Bad(event('{"a":"\\ud800"}'), "bad_text", None),
    "surrogate in a key": Bad(event('{"\\udfff":1}'), "bad_text", None),
    "surrogate in a text": Bad(action("page.viewed", '{"path":"\\ud83d"}'), "bad_text", None),
    "properties twice, the first unfit": Bad(
        action("page.viewed", '{"properties":{"a":1e-20000},"properties":{}}'), "invalid_data", "$.data"
    ),
    "10,000 keys": Bad(event(json.dumps(dict.fromkeys(map(str, range(10_000)), 1))), "too_many_keys", NESTED),
    "1,001 keys nested": Bad(event(json.dumps({"a": [{str(i): i} for i in range(1000)]})), "too_many_keys", NESTED),
    "100 levels": Bad(event('{"a":' * 100 + "1" + "}" * 100), "too_deep", NESTED),
    "33 levels of lists": Bad(event('{"a":' + "[" * 32 + "]" * 32 + "}"), "too_deep", NESTED),
    "900 levels": Bad(event('{"a":' + "[" * 900 + "]" * 900 + "}"), "too_deep", NESTED),
    "257 KiB": Bad(event(json.dumps({"a": "x" * 257 * 1024})), "too_large", "$.data"),
    "time without offset": Bad(at('"2026-11-21T08:00:00"'), "invalid_action", "$.at"),
    "time as a number": Bad(at("1763712000"), "invalid_action", "$.at"),
    "no such day": Bad(at('"2026-02-30T08:00:00Z"'), "invalid_action", "$.at"),
    "before year 1": Bad(at('"0001-01-01T00:00:00+14:00"'), "invalid_action", "$.at"),
    "year 1": Bad(at('"0001-01-01T00:00:00Z"'), "invalid_action", "$.at"),
    "year 1899": Bad(at('"1899-12-31T23:59:59Z"'), "invalid_action", "$.at"),
    "after year 9999": Bad(at('"9999-12-31T23:59:59-14:00"'), "invalid_action", "$.at"),
}


def filled(bad: str, session: str, identity: str) -> bytes:
    return bad.replace("@", f'"id":"{identity}","sessionId":"{session}"', 1).encode("utf-8", "surrogatepass")


def good(session: str, identity: str) -> bytes:
    data = {"event": "bought", "properties": {"price": 1.5, "text": "\\u0000 is no NUL here", "big": 10**300}}
    return json.dumps({"kind": "event.tracked", "id": identity, "sessionId": session, "data": data}).encode()


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_alone_it_is_refused(service: Service, bad: Bad) -> None:
    session = uuid.uuid4().hex
    answer = await service.send(filled(bad.text, session, "bad-1"))
    assert answer.status == 422
    assert answer.error["code"] == bad.code
    assert answer.error["details"]["path"] == bad.path
    (rejected,) = answer.error["details"]["rejected"]
    assert (rejected["index"], rejected["code"], rejected.get("path")) == (0, bad.code, bad.path)
    assert rejected.get("id") == "bad-1"
    assert rejected["message"]
    assert "Traceback" not in str(answer.body)


async def test_beside_good_ones_each_is_named_and_the_good_arrive(service: Service) -> None:
    session, names = uuid.uuid4().hex, list(BAD)
    pieces: list[bytes] = []
    for index, name in enumerate(names):
        pieces += [good(session, f"good-{index}"), filled(BAD[name].text, session, f"bad-{index}")]
    answer = await service.send(b'{"actions":[' + b",".join(pieces) + b"]}")
    assert answer.status == 202
    assert answer.body["accepted"] == len(names)
    assert answer.body["ids"] == [f"good-{index}" for index in range(len(names))]
    found = {one["index"]: (one["code"], one.get("path"), one.get("id")) for one in answer.body["rejected"]}
    assert found == {
        2 * index + 1: (BAD[name].code, BAD[name].path, f"bad-{index}") for index, name in enumerate(names)
    }
    await service.settle(answer)
    assert await service.ids(session) == {f"good-{index}" for index in range(len(names))}
    rows = await service.sql.fetch("SELECT properties->>'text' AS t FROM tracked_events WHERE session_id = $1", session)
    assert {row["t"] for row in rows} == {"\\u0000 is no NUL here"}


@pytest.mark.parametrize("lenient", [False, True], ids=["valid JSON", "with a NaN"])
async def test_every_two_of_a_batch(service: Service, lenient: bool) -> None:
    """Small batches take other ways than a large one: strict, one by one, lenient."""
    session = uuid.uuid4().hex
    for name, bad in BAD.items():
        pieces = [filled(bad.text, session, "bad"), good(session, name)]
        if lenient:
            pieces.append(filled(BAD["NaN"].text, session, "nan"))
        answer = await service.send(b'{"actions":[' + b",".join(pieces) + b"]}")
        assert (answer.status, answer.body["ids"]) == (202, [name]), name
        codes = [one["code"] for one in answer.body["rejected"]]
        assert codes == [bad.code] + ["not_finite"] * lenient, name
        await service.settle(answer)
    assert await service.ids(session) == set(BAD)


async def test_lines_are_judged_one_by_one(service: Service) -> None:
    session = uuid.uuid4().hex
    lines = [
        good(session, "1"),
        b"",
        b"no json",
        b'{"kind":"session.ended","id":"2","sessionId":"' + session.encode() + b'"}\r',
        b'{"data":' + b"[" * 100_000,
        b'{"id":"nan","kind":"session.ended","data":{"a":NaN}}',
        b'{"id":"raw","kind":"event.tracked","sessionId":"s","data":{"event":"\xff"}}',
        good(session, "3"),
    ]
    answer = await service.send(b"\n".join(lines), Content_Type="application/x-ndjson")
    assert answer.status == 202
    assert answer.body["ids"] == ["1", "2", "3"]
    rejected = [(one["index"], one["code"], one.get("id")) for one in answer.body["rejected"]]
    assert rejected == [
        (1, "malformed_json", None),
        (3, "too_deep", None),
        (4, "not_finite", "nan"),
        (5, "bad_text", "raw"),
    ]
    await service.settle(answer)
    assert await service.ids(session) == {"1", "2", "3"}


@pytest.mark.parametrize("field", ["id", "userId", "anonymousId", "sessionId", "orgId"])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 129, "invalid_id"),
        ("", "invalid_id"),
        ("a\\u0000b", "invalid_id"),
        ("a\\u0007b", "invalid_id"),
        ("a\\u0085b", "invalid_id"),
        ("a\\u007fb", "invalid_id"),
        ("a\\ud800b", "bad_text"),
    ],
)
async def test_ids(service: Service, field: str, value: str, code: str) -> None:
    envelope = {"sessionId": '"s"', "kind": '"session.ended"'} | {field: f'"{value}"'}
    text = ",".join(f'"{name}":{json_value}' for name, json_value in envelope.items())
    answer = await service.send(f"{{{text}}}".encode())
    assert (answer.status, answer.error["code"]) == (422, code)
    if code == "invalid_id":
        assert ID in answer.error["message"]
        assert answer.error["details"]["path"] == f"$.{field}"


async def test_ids_that_are_fine(service: Service) -> None:
    session = uuid.uuid4().hex
    ids = ["x" * 128, "ünïcödé", "😀" * 128, " ", 'a\\b"c', "auto:x", "'; DROP TABLE partitions; --"]
    answer = await service.send(
        {"actions": [{"kind": "session.ended", "sessionId": session, "id": one, "userId": one} for one in ids]}
    )
    assert (answer.status, answer.body["ids"]) == (202, ids)
    await service.settle(answer)
    assert await service.ids(session) == set(ids)


async def test_nobody_chooses_our_names(service: Service) -> None:
    answer = await service.send({"kind": "session.ended", "sessionId": "auto:user:1@5"})
    assert (answer.status, answer.error["code"], answer.error["details"]["path"]) == (422, "invalid_id", "$.sessionId")
    answer = await service.send({"kind": "session.ended"})
    assert (answer.status, answer.error["code"]) == (422, "missing_subject")
    assert "id" not in answer.error["details"]["rejected"][0], "an id that the client did not send"


async def test_times(service: Service) -> None:
    session, now = uuid.uuid4().hex, datetime.now(UTC)
    times = {
        "now": now,
        "ahead": now + timedelta(days=3650),
        "a little ahead": now + AHEAD - timedelta(minutes=1),
        "late": now - timedelta(days=100),
        "not late": now - BEHIND + timedelta(minutes=1),
        "1970": datetime(1970, 1, 1, tzinfo=UTC),
        "1900": datetime(1900, 1, 1, tzinfo=UTC),
    }
    answer = await service.send(
        {
            "actions": [
                {"kind": "session.ended", "id": name, "sessionId": session, "at": time.isoformat()}
                for name, time in times.items()
            ]
            + [{"kind": "session.ended", "id": "9999", "sessionId": session, "at": "9999-12-31T23:59:59.999999Z"}]
        }
    )
    assert (answer.status, answer.body["rejected"]) == (202, [])
    await service.settle(answer)
    rows = await service.sql.fetch(
        "SELECT id, at, received_at, flags FROM tracked_events WHERE session_id = $1", session
    )
    flags = {row["id"]: row["flags"] for row in rows}
    assert flags == dict.fromkeys(times, 0) | {
        "ahead": CLAMPED,
        "9999": CLAMPED,
        "late": LATE,
        "1970": LATE,
        "1900": LATE,
    }
    for row in rows:
        assert row["at"] == (row["received_at"] if row["flags"] & CLAMPED else times[row["id"]])


async def test_free_json_may_be_null_or_missing(service: Service) -> None:
    session = uuid.uuid4().hex
    answer = await service.send(
        {
            "actions": [
                {"kind": "event.tracked", "id": "1", "sessionId": session, "data": {"event": "e", "properties": None}},
                {"kind": "event.tracked", "id": "2", "sessionId": session, "data": {"event": "e"}},
                {"kind": "event.tracked", "id": "3", "sessionId": session, "data": {"event": "e", "properties": {}}},
                {"kind": "user.identified", "id": "4", "sessionId": session, "data": {"traits": {"plan": "pro"}}},
                {
                    "kind": "metric.recorded",
                    "id": "5",
                    "sessionId": session,
                    "data": {"metricName": "m", "value": 1, "additionalData": [1, {"a": None}]},
                },
            ]
        }
    )
    assert (answer.status, answer.body["rejected"]) == (202, [])
    await service.settle(answer)
    rows = await service.sql.fetch("SELECT id, properties FROM tracked_events WHERE session_id = $1", session)
    assert {row["id"]: row["properties"] for row in rows} == {"1": None, "2": None, "3": "{}", "4": '{"plan": "pro"}'}
    assert (
        await service.sql.fetchval("SELECT additional_data FROM performance_metrics WHERE session_id = $1", session)
        == '[1, {"a": null}]'
    )


async def test_the_last_of_two_fields_counts(service: Service) -> None:
    session = uuid.uuid4().hex
    body = (
        f'{{"kind":"nope","kind":"page.viewed","id":"a","id":"b","sessionId":"{session}",'
        '"data":{"path":"/1","properties":{"x":1,"x":2},"path":"/2","properties":{"y":1}}}'
    )
    answer = await service.send(body.encode())
    assert (answer.status, answer.body["ids"]) == (202, ["b"])
    await service.settle(answer)
    row = await service.sql.fetchrow("SELECT event, properties FROM tracked_events WHERE session_id = $1", session)
    assert (row["event"], json.loads(row["properties"])) == ("/2", {"path": "/2", "properties": {"y": 1}})


async def test_numbers_at_the_edge_of_jsonb_arrive(service: Service) -> None:
    session = uuid.uuid4().hex
    numbers = [
        "1e308",
        "-1e308",
        "1e-323",
        "1e-999",
        "0." + "1" * 14_000,
        "9" * 4000,
        "0." + "1" * 14_000 + "e-999",
        "-0",
    ]
    actions = [
        action("event.tracked", f'{{"event":"e","properties":{{"a":{number}}}}}').replace(
            "@", f'"id":"{index}","sessionId":"{session}"'
        )
        for index, number in enumerate(numbers)
    ]
    answer = await service.send(f'{{"actions":[{",".join(actions)}]}}'.encode())
    assert (answer.status, answer.body["rejected"]) == (202, [])
    await service.settle(answer)
    assert await service.ids(session) == {str(index) for index in range(len(numbers))}
