"""How far something is: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

EVERY: Final = 5.0


class Bar:
    """Shows `done` of `total` (None: nobody knows) and a few words, on stderr."""

    def __init__(self, title: str, total: int | None, console: Console | None = None, every: float = EVERY) -> None:
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self.title, self.total, self.every = title, total, every
        self.done, self.words = 0, ""
        self._said = time.monotonic()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[words]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, words="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, done: int, words: str) -> None:
        """So much is done."""
        self.done, self.words = done, words
        self._progress.update(self._task, completed=done, words=words)
        if not self.console.is_terminal and time.monotonic() - self._said >= self.every:
            self._said = time.monotonic()
            share = f"{100 * done // self.total:3d} %  " if self.total else ""
            self.say(f"{self.title}  {share}{words}")

    def count(self, done: int, total: int) -> None:
        """So many of about so many."""
        self.total = total
        self._progress.update(self._task, total=total)
        self.show(done, f"{done:,} of about {total:,}")

    def say(self, line: str) -> None:
        """A line above the bar."""
        self.console.print(line, markup=False)
