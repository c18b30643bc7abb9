"""Programs that die and programs that do not want to."""

import asyncio
import sys

from db import supervise
from db.output import Output
from db.supervise import Keeper, Program
from tests.db.stand_ins import ROOT, STUBBORN


class Heard(Output):
    """Collects what would go to the terminal."""

    def __init__(self) -> None:
        super().__init__([])
        self.queue: asyncio.Queue[str] = asyncio.Queue()

    def _print(self, name: str, text: str) -> None:
        self.queue.put_nowait(f"{name}: {text.strip()}")

    async def next(self) -> str:
        """The next line, soon."""
        async with asyncio.timeout(60):
            return await self.queue.get()


async def test_backoff_doubles() -> None:
    heard = Heard()
    keeper = Keeper(Program("brief", [sys.executable, "-c", "print('so long'); exit(3)"]), heard)
    for delay in ("0.2", "0.4", "0.8"):
        assert await heard.next() == "brief: so long"
        assert await heard.next() == f"milepost: brief ended (exit code 3), starting it again in {delay} s"
    await keeper.stop()
    assert heard.queue.empty()


async def test_a_program_that_is_not_there() -> None:
    heard = Heard()
    keeper = Keeper(Program("absent", ["/nowhere/program"]), heard)
    said = await heard.next()
    assert said == "milepost: absent cannot be started (No such file or directory), starting it again in 0.2 s"
    await keeper.stop()


async def test_a_stubborn_program_is_killed_after_its_grace() -> None:
    heard = Heard()
    keeper = Keeper(Program("worker", [sys.executable, "-uc", STUBBORN], grace=0.1), heard)
    assert await heard.next() == "worker: worker here"
    await keeper.stop()
    assert await heard.next() == "milepost: worker did not stop within 0.1 s, killing it"


async def test_a_long_line_without_an_end_is_not_lost() -> None:
    heard = Heard()
    keeper = Keeper(Program("long", [sys.executable, "-c", "print('x' * 200_000, end='')"]), heard)
    assert len(await heard.next()) == len("long: ") + 200_000
    await keeper.stop()


def test_the_procfile_starts_programs_without_a_shell() -> None:
    programs = supervise.from_procfile(ROOT / "Procfile", {})
    assert [program.name for program in programs] == ["api", "worker"]
    for program in programs:
        assert " ".join(program.argv).endswith(f"/python -m {program.name}")
