"""The end of background work that swallows a cancel."""

from __future__ import annotations

import asyncio

import pytest

from db import ending


async def stubborn(cancels: list[int], deaf: int) -> None:
    """Swallows the first `deaf` cancels, as an error in the place of a cancel does."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancels.append(1)
            if len(cancels) > deaf:
                raise


@pytest.mark.parametrize("deaf", [0, 1, 2])
async def test_a_cancel_that_is_swallowed_is_asked_again(deaf: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.05)
    cancels: list[int] = []
    task = asyncio.create_task(ending.surely(stubborn(cancels, deaf)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(cancels) == deaf + 1


async def test_a_cancel_that_was_swallowed_before_the_work_began_ends_it() -> None:
    async def deaf() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await ending.surely(asyncio.Event().wait())

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


async def test_what_work_gives_and_raises_is_its_own() -> None:
    async def gives() -> int:
        return 7

    async def fails() -> None:
        raise ValueError("no")

    assert await ending.surely(gives()) == 7
    with pytest.raises(ValueError, match="no"):
        await ending.surely(fails())


async def test_a_task_knows_that_it_was_asked_to_end() -> None:
    async def deaf() -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return ending.asked()
        return False

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    assert not ending.asked()
    task.cancel()
    assert await task
