"""`python -m db.up` as a process of its own, with small stand-ins in the place of the API, the worker and the demo."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0

API = """
import json, os
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(dict(os.environ)).encode())
    def log_message(self, *words): pass
print("api here")
HTTPServer(("127.0.0.1", int(os.environ["MILEPOST_PORT"])), Handler).serve_forever()
"""
WORKER = """
import signal, sys
print("worker here")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(print("worker stops") or 0))
while True: signal.pause()
"""
STUBBORN = (
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('worker here')\nwhile True: signal.pause()\n"
)
DEMO = "import os, sys\nprint('demo', *sys.argv[1:], os.path.exists(os.environ['MILEPOST_STATE'] + '/dev.json'))\n"


class Run:
    """One `python -m db.up`, and what it said so far."""

    def __init__(
        self, stage: Path, *words: str, prefix: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.said = stage / f"said-{time.monotonic_ns()}.txt"
        with self.said.open("wb") as file:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "db.up", *words],
                cwd=stage,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"} | dict(env or {}),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def text(self) -> str:
        """All that it said."""
        return self.said.read_text()

    def wait_for(self, text: str, times: int = 1) -> None:
        """Until it said so."""
        until(lambda: self.text.count(text) >= times, lambda: f"no {text!r} in:\n{self.text}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE)

    def children(self) -> dict[str, int]:
        """The process ids of the four children, by name."""
        names = {"-m api": "api", "-m worker": "worker", "/postgres -D": "postgres", "valkey-server": "valkey"}
        found: dict[str, int] = {}
        for pid in map(int, Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()):
            line = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
            found |= {
                name: pid for part, name in names.items() if part in line and not line.startswith("/usr/bin/setpriv")
            }
        return found


def until(holds: Callable[[], bool], otherwise: Callable[[], str] = str) -> None:
    """Poll with a deadline."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Neither gone nor waiting to be collected."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def lay_out(stage: Path) -> None:
    """Write the stand-ins and the real Procfile into a folder to start in."""
    for name, program in {"api/__main__": API, "worker/__main__": WORKER, "bench/demo": DEMO}.items():
        path = stage / f"{name}.py"
        path.parent.mkdir()
        path.parent.joinpath("__init__.py").touch()
        path.write_text(program)
    (stage / "Procfile").write_text((ROOT / "Procfile").read_text())
