"""The catalog: read strictly, a wrong one refused with its line, the one stored is the one that counts."""

from __future__ import annotations

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db import stored_catalog
from jobs import catalog
from jobs.catalog import Wrong

SHIPPED = stored_catalog.shipped()
ACTION = '[[onboarding.actions]]\naction = "sang"\nflag = "hasSung"\nfirstAt = "firstSongAt"\n'
STEPS = '[onboarding]\nsteps = [\n  "ONE",\n  "TWO",\n]\n'


def refused(text: str) -> tuple[int, str]:
    with pytest.raises(Wrong) as caught:
        catalog.parse(text)
    assert caught.value.reason in str(caught.value)
    return caught.value.line, caught.value.reason


def test_the_default_is_what_the_contract_says() -> None:
    shipped = catalog.default()
    assert [one.action for one in shipped.onboarding.actions] == [
        *("created_clip", "added_subtitles", "reframed_video", "shared_content"),
    ]
    assert shipped.onboarding.steps == (
        *("WELCOME", "UPLOAD_VIDEO", "VIEW_CLIPS", "CUSTOMIZE_CLIP", "EXPORT_CLIP", "SHARE_REFERRAL"),
    )
    assert (shipped.referrals.prefix, shipped.referrals.qualifying_action) == ("CLIP", "created_clip")
    assert shipped.courses.unknown == "accept"
    assert catalog.parse(SHIPPED) == catalog.parse("") == shipped


def test_a_section_left_out_is_as_shipped() -> None:
    found = catalog.parse('[courses]\nunknown = "reject"\n')
    assert (found.courses.unknown, found.onboarding) == ("reject", catalog.default().onboarding)


def instead(old: str, new: str) -> str:
    assert old in SHIPPED
    return SHIPPED.replace(old, new, 1)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("\nx = ", 2, "Invalid value"),
        ("\n[onboarding", 2, "Expected ']'"),
        ('\n\na = """\nb', 4, "Unterminated"),
        ('[courses]\nunknown = "accept"\nunknown = "reject"', 3, "Cannot overwrite a value"),
        ("a = " + "[" * 5000, 1, "nested too deep"),
        ("#" * 70_000, 1, "more than 64 KiB"),
        ("\n\n[meteors]\nx = 1", 3, "meteors: there is no such field"),
        ('\n[courses]\nunknown = "accept"\nknown = 1', 4, "courses.known: there is no such field"),
        ('\n[courses]\nunknown = "maybe"', 3, "courses.unknown: Invalid enum value 'maybe'"),
        ("[courses]\n", 1, "courses: Object missing required field `unknown`"),
        ("courses = 3", 1, "courses: Expected `object`, got `int`"),
        (instead('flag = "hasShared"', "flag = 3"), 27, "onboarding.actions[3].flag: Expected `str`, got `int`"),
        (instead('flag = "hasShared"\n', ""), 25, "onboarding.actions[3]: Object missing required field `flag`"),
        (instead('"hasShared"', '"firstClipAt"'), 27, "onboarding.actions[3].flag: firstClipAt stands twice"),
        (instead('"hasShared"', '"userId"'), 27, "onboarding.actions[3].flag: userId is ours"),
        (instead('"hasShared"', '"has shared"'), 27, "onboarding.actions[3].flag: Expected `str` matching regex"),
        (instead('"shared_content"', '"created_clip"'), 26, "onboarding.actions[3].action: created_clip stands twice"),
        (instead('"VIEW_CLIPS"', '"WELCOME"'), 6, "onboarding.steps[2]: WELCOME stands twice"),
        (instead('"VIEW_CLIPS"', '"COMPLETED"'), 6, "onboarding.steps[2]: COMPLETED is ours"),
        (instead('"VIEW_CLIPS"', '"A\\nB"'), 6, "onboarding.steps[2]: Expected `str` matching regex"),
        (instead('"VIEW_CLIPS"', '"WELCOME\\n"'), 6, "onboarding.steps[2]: Expected `str` matching regex"),
        ("[onboarding]\n\nsteps = []\n" + ACTION, 3, "onboarding.steps: Expected `array` of length >= 1"),
        ('[onboarding]\nsteps = ["A"]\nactions = []\n', 3, "onboarding.actions: Expected `array` of length >= 1"),
        (STEPS.replace("TWO", "ONE") + ACTION, 4, "onboarding.steps[1]: ONE stands twice"),
        (STEPS + ACTION, 1, "referrals.qualifyingAction: created_clip is no action of [onboarding]"),
        (
            instead('qualifyingAction = "created_clip"', 'qualifyingAction = "sang"'),
            37,
            "referrals.qualifyingAction: sang is no action of [onboarding]",
        ),
        (instead("?ref={code}", "?ref=code"), 35, "referrals.link: Expected `str` matching regex"),
        (instead("https://", "javascript:"), 35, "referrals.link: Expected `str` matching regex"),
        (instead("referrer = 10", "referrer = -1"), 42, "referrals.rewards.referrer: Expected `int` >= 0"),
        (instead("referrer = 10", "referrer = 1e3"), 42, "referrals.rewards.referrer: Expected `int`, got `float`"),
    ],
)
def test_a_wrong_one_is_refused_with_line_and_reason(text: str, line: int, reason: str) -> None:
    found = refused(text)
    assert found[0] == line
    assert found[1].startswith(reason)


def line_of(text: str) -> int:
    """0 for a catalog."""
    try:
        catalog.parse(text)
    except Wrong as error:
        return error.line
    return 0


@given(st.text(max_size=200))
def test_any_text_is_a_catalog_or_wrong(text: str) -> None:
    assert 0 <= line_of(text) <= text.count("\n") + 1


@settings(deadline=None)
@given(st.integers(0, len(SHIPPED)), st.text(alphabet='[]{}"=\n#,.ab1', max_size=4))
def test_any_damage_to_the_default_is_a_catalog_or_wrong(at: int, damage: str) -> None:
    text = SHIPPED[:at] + damage + SHIPPED[at + 3 :]
    assert 0 <= line_of(text) <= text.count("\n") + 1


async def test_the_stored_one_counts(conn: asyncpg.Connection) -> None:
    assert await catalog.load(conn) is catalog.default()
    other = '[courses]\nunknown = "reject"\n'
    assert await stored_catalog.store(conn, other)
    first = await catalog.load(conn)
    assert first.courses.unknown == "reject"
    assert await catalog.load(conn) is first
    assert not await stored_catalog.store(conn, other)
    assert not await stored_catalog.keep(conn, SHIPPED)
    assert await stored_catalog.store(conn, SHIPPED)
    assert (await catalog.load(conn)).courses.unknown == "accept"


def test_what_changed() -> None:
    old, new = catalog.default(), catalog.parse(instead('prefix = "CLIP"', 'prefix = "TAPE"'))
    assert catalog.changes(old, new) == ["referrals.prefix: CLIP -> TAPE"]
    assert catalog.changes(old, old) == []
