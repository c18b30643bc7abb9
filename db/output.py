"""What the supervised processes say, on one terminal; or in their log files while somebody else has the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from honcho import colour
from honcho.printer import Message, Printer

OWN = "milepost"


class Output:
    """Lines of several processes, each behind its name. A terminal that has gone away is no reason to stop serving."""

    def __init__(self, names: list[str]) -> None:
        """The names, for the width of the column and for one colour each."""
        self._printer = Printer(sys.stdout, time_format="", width=max(map(len, [*names, OWN])))
        self._colours = dict(zip(names, colour.get_colours(), strict=False))
        self._folder: Path | None = None

    def say(self, text: str) -> None:
        """A line of the supervisor's own; it goes to the terminal always."""
        self._print(OWN, text)

    def lines(self, name: str, text: str) -> None:
        """Lines of a process."""
        if self._folder is None:
            self._print(name, text)
        else:
            with (self._folder / f"{name}.log").open("a") as file:
                file.write(text)

    @contextmanager
    def aside(self, folder: Path) -> Iterator[None]:
        """While it lasts, the lines of the processes go to `<folder>/<name>.log`."""
        self._folder = folder
        try:
            yield
        finally:
            self._folder = None

    def _print(self, name: str, text: str) -> None:
        try:
            self._printer.write(Message("line", text, datetime.now().astimezone(), name, self._colours.get(name)))
        except OSError:
            return
