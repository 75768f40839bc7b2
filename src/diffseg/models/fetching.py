"""Files from a server or a folder, with their checksum, as long work."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from diffseg.errors import UserError
from diffseg.progress import Progress, Work

_SCHEMES = ("http", "https", "file")
_BLOCK = 1 << 20
_PATIENCE_S = 30.0  # that a server may be silent


@dataclass(frozen=True, slots=True)
class Arrival:
    """A file that was fetched: where it is, where it came from, and what it is."""

    path: Path
    origin: str | Path
    bytes: int
    sha256: str


class _Linked(HTTPRedirectHandler):
    """Keep what a hub says of a file before it hands over to where the file lies."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.sha256: str | None = None

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        """Note the linked file's size and checksum, and follow."""
        self.size = _number(headers.get("X-Linked-Size")) or self.size
        tag = (headers.get("X-Linked-Etag") or "").strip('W/"')
        if len(tag) == 64:  # that of a large file is its SHA-256
            self.sha256 = tag.lower()
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def remote_size(url: str) -> int | None:
    """Bytes of a file on a server, as far as it says.

    Raises
    ------
    UserError
        The server cannot be reached, or has no such file.
    """
    linked = _Linked()
    method = "GET" if urlsplit(url).scheme == "file" else "HEAD"
    with _opened(url, linked, method) as answer:
        return linked.size or _number(answer.headers.get("Content-Length"))


def downloaded(url: str, target: Path) -> Work[Arrival]:
    """Fetch a file into `target`; its size and checksum are the server's, if it says.

    Raises
    ------
    UserError
        The server cannot be reached, has no such file, breaks off, or what arrives
        is not what it said; or the disk is too small.
    """
    linked, whole, done = _Linked(), hashlib.sha256(), 0
    name = target.name
    with _opened(url, linked, "GET") as answer, target.open("wb") as file:
        total = _number(answer.headers.get("Content-Length"))
        _room(target, total or 0)
        while True:
            try:
                block = answer.read(_BLOCK)
            except (OSError, HTTPException) as err:
                raise _unreachable(url, err) from None
            if not block:
                break
            file.write(block)
            whole.update(block)
            done += len(block)
            yield Progress("download", done, total or 0, name)
    if total is not None and done != total:
        raise UserError(
            f"{url} broke off after {done} of {total} bytes; pull the weights again"
        )
    found = whole.hexdigest()
    if linked.sha256 not in (None, found):
        raise UserError(
            f"checksum of {name} differs from the server's: it is {found}; pull the "
            "weights again"
        )
    return Arrival(target, url, done, found)


def copied(source: Path, target: Path) -> Work[Arrival]:
    """Copy a file of this machine to `target`."""
    whole, done, total = hashlib.sha256(), 0, source.stat().st_size
    _room(target, total)
    with source.open("rb") as file, target.open("wb") as into:
        while block := file.read(_BLOCK):
            into.write(block)
            whole.update(block)
            done += len(block)
            yield Progress("copy", done, total, target.name)
    return Arrival(target, source, done, whole.hexdigest())


def unpacked(archive: Arrival, member: str) -> Arrival:
    """Take the file called `member`, in whatever folder, out of a zip archive.

    Raises
    ------
    UserError
        It is no archive, is broken, or holds no such file.
    """
    target = archive.path.with_name(member)
    try:
        with zipfile.ZipFile(archive.path) as content:
            names = [
                name for name in content.namelist() if name.rsplit("/", 1)[-1] == member
            ]
            if not names:
                raise UserError(f"archive {archive.path.name} holds no {member}")
            _room(target, content.getinfo(names[0]).file_size)
            with content.open(names[0]) as packed, target.open("wb") as into:
                shutil.copyfileobj(packed, into, _BLOCK)
    except zipfile.BadZipFile:
        raise UserError(
            f"{archive.path.name} is no whole zip archive; fetch it again"
        ) from None
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    return Arrival(target, archive.origin, target.stat().st_size, found)


def _opened(url: str, linked: _Linked, method: str) -> Any:
    if urlsplit(url).scheme not in _SCHEMES:
        raise UserError(f"{url} is not an address of http, https or file")
    request = Request(url, method=method, headers={"User-Agent": "diffseg"})
    try:
        return build_opener(linked).open(request, timeout=_PATIENCE_S)
    except (OSError, HTTPException, ValueError) as err:
        raise _unreachable(url, err) from None


def _unreachable(url: str, err: Exception) -> UserError:
    reason = getattr(err, "reason", None) or str(err) or type(err).__name__
    return UserError(
        f"{url} cannot be fetched ({reason}); try again, or give a folder that holds "
        "the files",
        option="--from DIR",
    )


def _room(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise UserError(
            f"the disk of {target.parent.parent} has {free / 1e6:.0f} MB free and "
            f"{target.name} needs {needed / 1e6:.0f} MB; make room, or give another "
            "folder in DIFFSEG_HOME"
        )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None
