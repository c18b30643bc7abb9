"""Servers of an earlier start that still run: after kill -9 of everything, or while they are stopping."""

import os
import signal
import subprocess
import time
from pathlib import Path

from db.server import StartError

PATIENCE = 20.0  # seconds, for a Postgres that has much to write


def stop(pid_file: Path, marker: str, how: signal.Signals) -> None:
    """Stop the server whose pid file this is, and wait for its end. `marker` is a word of its command line that nobody
    else's has: the number in a stale file may belong to another process by now. The file is gone afterwards."""
    deadline = time.monotonic() + PATIENCE
    pid = _pid(pid_file)
    while pid and marker in _command_line(pid):
        _send(pid, how)
        if time.monotonic() > deadline:
            raise StartError(f"an earlier server (process {pid}) does not stop: end it and start again")
        time.sleep(0.05)
    pid_file.unlink(missing_ok=True)


def _pid(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None


def _command_line(pid: int) -> str:
    """Empty for a process that is gone, or dead and not yet collected."""
    if Path("/proc/self").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    words = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(words, capture_output=True, check=False, text=True).stdout


def _send(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        return
