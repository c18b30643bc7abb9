"""How far each file was imported into each API, kept in one small file: acknowledged from the start up to there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from db import command
from db.state import write_private
from jobs.lines import STDIN, Place, Unreadable

NAME: Final = "import.json"


class Mark(msgspec.Struct, frozen=True):
    """One file's place, what became of the lines before it, and the length of the file of rejects then."""

    file: str
    url: str
    place: Place
    accepted: int = 0
    rejected: int = 0
    rejects_bytes: int = 0
    done_at: str | None = None


_marks: Final = msgspec.json.Decoder(dict[str, Mark])


class Checkpoint:
    """The marks in one file. Nothing is kept of standard input, unless somebody named the file to keep it in."""

    def __init__(self, path: Path | None) -> None:
        self.path, self._named = path or _default(), path is not None

    def load(self, name: str, url: str) -> Mark | None:
        """What is known of a file; raises Unreadable when the checkpoint itself cannot be read."""
        return self._read().get(_key(name, url)) if self._keeps(name) else None

    def save(self, name: str, mark: Mark) -> None:
        """Keep it, whole or not at all."""
        if not self._keeps(name):
            return
        marks = self._read()
        marks[_key(name, mark.url)] = mark
        write_private(self.path, msgspec.json.format(msgspec.json.encode(marks), indent=2).decode() + "\n")

    def _keeps(self, name: str) -> bool:
        return self._named or name != STDIN

    def _read(self) -> dict[str, Mark]:
        try:
            return _marks.decode(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise Unreadable(
                f"the checkpoint {self.path} cannot be read ({error}): name another, or remove it"
            ) from None


def _default() -> Path:
    """In the state folder, so that it goes when the data goes; without one in the working folder."""
    state = command.state()
    return state / NAME if state.is_dir() else Path(f".milepost-{NAME}")


def _key(name: str, url: str) -> str:
    where = name if name == STDIN else str(Path(name).absolute())
    return hashlib.sha256(f"{url} {where}".encode(errors="surrogateescape")).hexdigest()[:16]
