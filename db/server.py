"""What an embedded server is to whoever starts it, and what is said when something cannot start."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


class StartError(Exception):
    """Something that the operator has to change; its text is one clear line."""


@dataclass(frozen=True)
class Server:
    """A prepared server: its data folder and settings are in place, it only has to be started."""

    name: str
    argv: tuple[str, ...]
    stop_signal: signal.Signals
    url: str
    log: Path  # takes its output
    ready: Callable[[int], bool]  # by its process id: does it take work?
