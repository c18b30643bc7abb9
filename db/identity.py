"""Under which identity an embedded server runs, and what makes it end with the process that started it.

Postgres refuses to run as root. Instead of opening the folders above its data, as root it gets an unprivileged identity
and, only where it cannot pass otherwise, the one capability to walk through folders: no mode of any folder above the
state folder is changed. Without the secure bit, access(2), by which initdb looks for its own binary, would overlook the
capability.
"""

import os
import pwd
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path

from db.server import StartError

WALK = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--securebits=+no_setuid_fixup")


@cache
def setpriv() -> str | None:
    """util-linux' setpriv, if this machine has one that knows the parent's death (2.33 and later)."""
    path = shutil.which("setpriv")
    return path if path and _succeeds(path, "--pdeathsig", "TERM", "true") else None


def until_parent_ends(how: signal.Signals) -> tuple[str, ...]:
    """Words before a command: the kernel sends it this signal when its parent is gone, kill -9 included."""
    path = setpriv()
    return (path, "--pdeathsig", how.name.removeprefix("SIG")) if path else ()


def own(path: Path) -> Path:
    """Give a file or folder of the state folder to the servers' identity. Nothing happens for an ordinary user."""
    if os.geteuid() == 0:
        os.chown(path, *_nobody())
    return path


def unprivileged(binary: Path, folder: Path) -> tuple[str, ...]:
    """Words before a command of an embedded server that works in `folder`; none for an ordinary user."""
    if os.geteuid() != 0:
        return ()
    if path := setpriv():
        user, group = _nobody()
        plain = (path, f"--reuid={user}", f"--regid={group}", "--clear-groups")
        for prefix in (plain, (*plain, *WALK)):
            if _reaches(prefix, binary, folder):
                return prefix
        # Containers usually lack the capability: then others may pass through the state folder, and read nothing.
        folder.parent.chmod(0o711)
        if _reaches(plain, binary, folder):
            return plain
        folder.parent.chmod(0o700)
    raise StartError(
        f"as root, Postgres has to run as another user, who cannot reach {folder} or {binary}: "
        "start as an ordinary user, choose a STATE that others can reach, or set MILEPOST_DATABASE_URL"
    )


def _nobody() -> tuple[int, int]:
    """initdb wants a user that has a name."""
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        raise StartError(
            "as root, Postgres runs as the user 'nobody', who does not exist here: use another user"
        ) from None
    return user.pw_uid, user.pw_gid


def _reaches(prefix: tuple[str, ...], binary: Path, folder: Path) -> bool:
    return _succeeds(*prefix, "test", "-w", str(folder)) and _succeeds(*prefix, "test", "-x", str(binary))


def _succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False, cwd="/").returncode == 0
