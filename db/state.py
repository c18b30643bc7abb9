"""The state folder of one installation: data of the embedded servers, secrets, ports, logs."""

import fcntl
import json
import os
import secrets
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from db import ports
from db.server import StartError

MOST_LOG_BYTES = 16 * 2**20


class State:
    """One folder, mode 0700, with everything that must be found again at the next start."""

    def __init__(self, path: Path | str) -> None:
        """Create or open the folder. StartError if it is somebody else's or holds something else."""
        self.path = Path(path).absolute()
        try:
            self._open()
        except (PermissionError, NotADirectoryError, FileExistsError) as error:
            raise StartError(
                f"the state folder {self.path} cannot be used: {error.strerror}: {error.filename}"
            ) from error
        self.secrets = self._secrets()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)
        if not (self.path / "secrets.json").exists() and any(self.path.iterdir()):
            raise StartError(f"the state folder {self.path} holds something else: name an empty or a new one")
        if self.path.stat().st_mode & 0o077:
            self.path.chmod(0o700)
        (self.path / "log").mkdir(mode=0o700, exist_ok=True)

    def _secrets(self) -> dict[str, str]:
        kept: dict[str, str] = self.read("secrets.json")
        fresh = {
            "postgresPassword": secrets.token_urlsafe(24),
            "redisPassword": secrets.token_urlsafe(24),
            "jwtSecret": secrets.token_urlsafe(48),
            "adminKey": f"mp_{secrets.token_urlsafe(32)}",
            "serviceKey": f"mp_{secrets.token_urlsafe(32)}",
            "userId": str(uuid.uuid4()),
        }
        if fresh.keys() - kept.keys():
            self.write("secrets.json", kept := fresh | kept)
        return kept

    def read(self, name: str) -> dict[str, Any]:
        """What `write` kept under this name, else nothing."""
        try:
            content: dict[str, Any] = json.loads((self.path / name).read_text())
        except FileNotFoundError:
            return {}
        return content

    def write(self, name: str, content: dict[str, Any]) -> Path:
        """Keep it as JSON, mode 0600, whole or not at all."""
        return write_private(self.path / name, json.dumps(content, indent=2) + "\n")

    def port(self, name: str) -> int:
        """The server's port on 127.0.0.1: the one of the last start, another if that is taken by now."""
        kept: dict[str, int] = self.read("ports.json")
        if name in kept and ports.is_free(kept[name]):
            return kept[name]
        kept[name] = ports.free()
        self.write("ports.json", kept)
        return kept[name]

    def log(self, name: str) -> Path:
        """The log file of a process; one that has grown long is put aside first, as `<name>.log.1`."""
        path = self.path / "log" / f"{name}.log"
        if path.exists() and path.stat().st_size > MOST_LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process. The kernel lets go of it however the process ends."""
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise StartError(f"Milepost runs on {self.path} already (process {file.read().strip()})") from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read: no moment with wider permissions, never half a file."""
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return draft.replace(path)
