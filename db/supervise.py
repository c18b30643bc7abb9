"""Keep programs running: whatever dies is started again with backoff, and it says so.

honcho's own manager ends everything when one process ends; its Procfile parser and its printer are used.
"""

import asyncio
import os
import shlex
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from honcho.environ import parse_procfile

from db import identity
from db.output import Output
from db.server import Server, StartError

FIRST_DELAY, LONGEST_DELAY = 0.2, 5.0  # seconds, doubling
SETTLED = 10.0  # seconds alive, after which the delay begins anew
START_SECONDS = 120.0  # a server may have to recover a long log
START_TRIES = 8


@dataclass(frozen=True)
class Program:
    """What to keep running."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0  # seconds between the stop signal and the kill
    log: Path | None = None  # takes the output, instead of the terminal
    ready: Callable[[int], bool] | None = None  # by process id


def from_server(server: Server) -> Program:
    """An embedded server as a program."""
    return Program(
        server.name, server.argv, stop_signal=server.stop_signal, grace=20.0, log=server.log, ready=server.ready
    )


def from_procfile(path: Path, env: Mapping[str, str]) -> list[Program]:
    """Every line of a Procfile. There is no shell in between, so that the process we watch is the program itself."""
    try:
        lines: dict[str, str] = parse_procfile(path.read_text()).processes
    except FileNotFoundError:
        raise StartError(f"there is no {path}: start from the root of the repository") from None
    prefix = identity.until_parent_ends(signal.SIGKILL)
    return [Program(name, (*prefix, *python(shlex.split(line))), env) for name, line in lines.items()]


def python(words: Sequence[str]) -> list[str]:
    """The command with this interpreter in the place of a leading `python`."""
    here = Path(sys.executable).with_name("python")
    return [str(here if here.exists() else sys.executable), *words[1:]] if words[0] == "python" else list(words)


def ending(code: int) -> str:
    """An exit code in words."""
    return f"died (signal {-code})" if code < 0 else f"ended (exit code {code})"


class Keeper:
    """One program that is kept running until `stop`."""

    def __init__(self, program: Program, output: Output) -> None:
        """Nothing is started before `keep` runs."""
        self.program = program
        self.deaths = 0
        self._output = output
        self._process: Process | None = None
        self._stopping = asyncio.Event()
        self._task = asyncio.create_task(self._keep(), name=program.name)

    async def ready(self) -> None:
        """Return once the program takes work. StartError when it does not within the time, or dies again and again."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        where = f": see {self.program.log}"
        while not await self._takes_work():
            if self.deaths >= START_TRIES:
                raise StartError(f"{self.program.name} does not start{where}")
            if asyncio.get_running_loop().time() > deadline:
                raise StartError(f"{self.program.name} was not ready within {START_SECONDS:.0f} s{where}")
            await asyncio.sleep(0.02)

    @property
    def pid(self) -> int | None:
        """The process as it runs now; None between two starts."""
        return self._process.pid if self._process else None

    async def stop(self) -> None:
        """The stop signal, and a kill after the grace. Returns when the process is gone."""
        self._stopping.set()
        self._send(self.program.stop_signal)
        done, _ = await asyncio.wait([self._task], timeout=self.program.grace)
        if not done:
            self._output.say(f"{self.program.name} did not stop within {self.program.grace:g} s, killing it")
            self.kill()
        await self._task

    def kill(self) -> None:
        """At once, and without a word."""
        self._stopping.set()
        self._send(signal.SIGKILL)

    async def _takes_work(self) -> bool:
        if self._process is None:
            return False
        return self.program.ready is None or await asyncio.to_thread(self.program.ready, self._process.pid)

    def _send(self, how: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            if self._process:
                self._process.send_signal(how)

    async def _keep(self) -> None:
        clock, delay = asyncio.get_running_loop().time, FIRST_DELAY
        while not self._stopping.is_set():
            started = clock()
            how = await self._run()
            if self._stopping.is_set():
                return
            self.deaths += 1
            if clock() - started > SETTLED:
                delay = FIRST_DELAY
            self._output.say(f"{self.program.name} {how}, starting it again in {delay:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), delay)
            delay = min(2 * delay, LONGEST_DELAY)

    async def _run(self) -> str:
        """Start it and wait for its end; how that was."""
        try:
            self._process = await self._start()
        except OSError as error:
            return f"cannot be started ({error.strerror})"
        if self._stopping.is_set():  # asked while it was being started
            self._send(self.program.stop_signal)
        reading = asyncio.create_task(self._read(self._process))
        code = await self._process.wait()
        self._process = None
        await asyncio.wait([reading], timeout=1)  # a grandchild may hold the pipe open
        reading.cancel()
        return ending(code)

    async def _start(self) -> Process:
        """In a session of its own: a Ctrl-C at the terminal is for the supervisor, who stops everything in order."""
        program = self.program
        if program.log is None:
            return await asyncio.create_subprocess_exec(
                *program.argv, env=program.env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True
            )
        with program.log.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                *program.argv, env=program.env, stdin=DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
            )

    async def _read(self, process: Process) -> None:
        rest = b""
        while process.stdout and (part := await process.stdout.read(1 << 16)):
            whole, newline, rest = (rest + part).rpartition(b"\n")
            if whole:
                self._output.lines(self.program.name, (whole + newline).decode(errors="replace"))
        if rest:
            self._output.lines(self.program.name, rest.decode(errors="replace") + "\n")


class Supervisor:
    """Several programs, stopped in the order in which they were started."""

    def __init__(self, output: Output) -> None:
        """Nothing runs yet."""
        self._output = output
        self._keepers: list[Keeper] = []

    async def start(self, programs: Sequence[Program]) -> None:
        """Start them all at once and return when all of them are ready."""
        started = [Keeper(program, self._output) for program in programs]
        self._keepers += started
        await asyncio.gather(*(keeper.ready() for keeper in started))

    async def stop(self) -> None:
        """One after the other: who writes goes before whom it writes to."""
        for keeper in self._keepers:
            await keeper.stop()

    def kill(self) -> None:
        """All of them, now."""
        for keeper in self._keepers:
            keeper.kill()
