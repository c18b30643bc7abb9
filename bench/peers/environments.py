"""One virtual environment for each peer, built from its pinned and hashed requirements with plain venv and pip."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
INSTALL_SECONDS = 600


class InstallFailedError(Exception):
    """A peer's environment could not be built; the message is pip's last word."""


def build(peer: str, folder: Path) -> Path:
    """The Python of the peer's environment under `folder`, built when it is missing or its requirements changed."""
    requirements = HERE / f"{peer}.txt"
    environment = (folder / peer).absolute()
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = f"{hashlib.sha256(requirements.read_bytes()).hexdigest()} {sys.version}"
    ready = environment / ".ready"
    if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    install = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(requirements)]
    if importlib.util.find_spec("ensurepip"):
        _run([sys.executable, "-m", "venv", str(environment)])
        _run([str(python), "-m", "pip", *install])
    else:
        # Debian and Ubuntu ship Python without ensurepip: the system's pip fills the environment from outside.
        _run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
        _run([getattr(sys, "_base_executable", sys.executable), "-m", "pip", "--python", str(python), *install])
    # Written last: an interrupted build is built again.
    ready.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailedError(str(error)) from error
    if done.returncode:
        raise InstallFailedError(" / ".join(done.stderr.strip().splitlines()[-3:]) or f"exit status {done.returncode}")
