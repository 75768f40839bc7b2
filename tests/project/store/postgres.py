"""A PostgreSQL server for a test: its own folder, account, port and socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PORT = 54327
"""Only the name of the socket: the server listens to no network."""
ACCOUNTS = ("postgres", "nobody")
"""Whom the server runs as where the tests run as root, which it refuses."""


def binaries() -> Path | None:
    """Folder of the newest server on this machine; Debian's are not in the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    if found:
        return found[0].parent
    return Path(on_path).parent if on_path else None


@contextmanager
def server(place: Path, durable: bool = False) -> Iterator[str]:
    """Run a server; yield the URL of its database.

    Parameters
    ----------
    place : Path
        Folder of the server's programs.
    durable : bool
        Flush to the disk what is committed, as a server in use does.
    """
    # Not pytest's folder: another account cannot look into it.
    folder = Path(tempfile.mkdtemp(prefix="diffseg-pg-"))
    account = _account(folder)

    def call(program: str, *args: str) -> None:
        subprocess.run(
            [place / program, *args],
            cwd=folder, check=True, stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT, timeout=120, **account,
        )  # fmt: skip

    data = folder / "data"
    options = f"-c listen_addresses='' -k {folder} -p {PORT}"
    if not durable:
        options += " -c fsync=off -c synchronous_commit=off"
    try:
        call(
            "initdb",
            "-D",
            str(data),
            "-U",
            "diffseg",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
        )
        log = str(folder / "log")
        call("pg_ctl", "-D", str(data), "-o", options, "-l", log, "-w", "start")
        try:
            yield f"postgresql://diffseg@/postgres?host={folder}&port={PORT}"
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account(folder: Path) -> dict[str, Any]:
    """Under whom the server runs; the folder becomes theirs."""
    if os.geteuid() != 0:
        return {}
    for name in ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError(f"none of the accounts {ACCOUNTS} is on this machine")
