"""Public weights: which there are, and how they come onto this machine.

They lie in ``$DIFFSEG_HOME/weights/NAME``, whole or not at all, with a ``pulled.json``
that says where each file came from and its checksum. Loads without torch.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field

from diffseg.errors import UserError
from diffseg.models.fetching import Arrival, copied, downloaded, remote_size, unpacked
from diffseg.models.registry import home
from diffseg.progress import Work
from diffseg.resources import resource

RECEIPT = "pulled.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublicFile(_Frozen):
    """One file of a set of public weights."""

    url: str
    bytes: int | None = Field(None, description="About; None: not known")
    sha256: str | None = Field(None, description="None: none is published")
    unpack: str | None = Field(None, description="The file taken out of an archive")
    under: str | None = Field(
        None, pattern=r"^\w+$", description="The folder that it is kept in"
    )

    @property
    def arrives_as(self) -> str:
        """Path under which it is fetched."""
        return self._placed(Path(urlsplit(self.url).path).name)

    @property
    def name(self) -> str:
        """Path under which it is kept."""
        return self._placed(self.unpack) if self.unpack else self.arrives_as

    def _placed(self, name: str) -> str:
        return f"{self.under}/{name}" if self.under else name


class PublicWeights(_Frozen):
    """A set of public weights: what it is, whose, and where it is."""

    name: str
    title: str
    use: str
    source: str
    licence: str
    teacher: str | None = Field(None, description="What `load_teacher` calls it")
    files: tuple[PublicFile, ...] = Field(min_length=1)

    @property
    def folder(self) -> Path:
        """Where it lies once it is pulled."""
        return home() / "weights" / self.name

    @property
    def here(self) -> bool:
        """Whether it is on this machine."""
        return (self.folder / RECEIPT).is_file()


def offline() -> bool:
    """Whether the user forbids any network (``DIFFSEG_OFFLINE=1``)."""
    return os.environ.get("DIFFSEG_OFFLINE", "") not in ("", "0")


def public_weights() -> tuple[PublicWeights, ...]:
    """Every set of public weights that can be pulled, as the catalogue lists them."""
    file = resource("presets", "public_weights.yaml")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    return tuple(PublicWeights(name=name, **entry) for name, entry in content.items())


def find_public(name: str) -> PublicWeights:
    """Find public weights by name, or by what `load_teacher` calls them.

    Raises
    ------
    UserError
        There are none of that name; the message lists the known ones.
    """
    known = public_weights()
    for entry in known:
        if name in (entry.name, entry.teacher):
            return entry
    names = ", ".join(entry.name for entry in known)
    raise UserError(f"public weights {name!r} are not known; there are: {names}")


def pulled_folder(teacher: str) -> Path | None:
    """Where the weights of a teacher lie, if they were pulled."""
    for entry in public_weights():
        if teacher == entry.teacher and entry.here:
            return entry.folder
    return None


def size_of(entry: PublicWeights, source: Path | None = None) -> int | None:
    """Bytes that a pull will fetch: of the files in `source`, else the server's word.

    Falls back on the catalogue where the server says nothing; None where that does not
    know either.

    Raises
    ------
    UserError
        A file is not in `source`, or the network is forbidden.
    """
    if source is not None:
        found = [_found(source, entry, file) for file in entry.files]
        return sum(path.stat().st_size for path in found)
    _refuse_offline(entry)
    sizes = [remote_size(file.url) or file.bytes for file in entry.files]
    if all(size is None for size in sizes):
        return None
    return sum(size or 0 for size in sizes)


def iter_pull(entry: PublicWeights, source: Path | None = None) -> Work[Path]:
    """Fetch public weights; yields progress and returns their folder.

    Everything is fetched aside, checked, and then renamed.

    Parameters
    ----------
    entry : PublicWeights
    source : path, optional
        A folder that holds the files, or for an archive the file taken out of it; the
        network is then not used.

    Raises
    ------
    UserError
        The network is forbidden or fails, a file is not in `source`, a checksum or a
        size differs, the disk is full, or the weights are here already.
    """
    if entry.here:
        raise UserError(
            f"weights {entry.name} are here already: {entry.folder}; remove that "
            "folder to pull them again"
        )
    if source is None:
        _refuse_offline(entry)
    target = entry.folder
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(
            tempfile.mkdtemp(prefix=f".pulling-{entry.name}-", dir=target.parent)
        )
    except OSError as err:
        raise _unwritable(target, err) from None
    try:
        arrivals = yield from _gather(entry, source, aside)
        receipt = {
            "name": entry.name,
            "licence": entry.licence,
            "source": entry.source,
            "files": {
                arrival.path.relative_to(aside).as_posix(): {
                    "url": str(arrival.origin),
                    "bytes": arrival.bytes,
                    "sha256": arrival.sha256,
                }
                for arrival in arrivals
            },
        }
        text = json.dumps(receipt, indent=2) + "\n"
        (aside / RECEIPT).write_text(text, encoding="utf-8")
        aside.chmod(0o755)  # mkdtemp's folder is its maker's alone
        aside.rename(target)
    except OSError as err:
        raise _unwritable(target, err) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _gather(
    entry: PublicWeights, source: Path | None, aside: Path
) -> Work[list[Arrival]]:
    """Bring every file into `aside`, checked, and out of its archive."""
    arrivals = []
    for file in entry.files:
        if file.under:
            (aside / file.under).mkdir(exist_ok=True)
        if source is None:
            arrival = yield from downloaded(file.url, aside / file.arrives_as)
        else:
            found = _found(source, entry, file)
            kept = aside / found.relative_to(source)
            arrival = yield from copied(found, kept)
        taken_out = arrival.path.name == file.unpack  # the user did it before
        if file.sha256 and not taken_out and arrival.sha256 != file.sha256.lower():
            raise UserError(
                f"checksum of {file.arrives_as} differs from the catalogue's for "
                f"{entry.name}: it is {arrival.sha256}; fetch it again"
            )
        if file.unpack and not taken_out:
            archive, arrival = arrival, unpacked(arrival, file.unpack)
            archive.path.unlink()
        arrivals.append(arrival)
    return arrivals


def _found(source: Path, entry: PublicWeights, file: PublicFile) -> Path:
    """Where in `source` a file lies, or what is taken out of it."""
    for name in (file.arrives_as, file.name):
        if (source / name).is_file():
            return source / name
    names = " or ".join(dict.fromkeys((file.arrives_as, file.name)))
    raise UserError(
        f"folder {source} holds no {names}, which {entry.name} needs; get it from "
        f"{file.url}"
    )


def _refuse_offline(entry: PublicWeights) -> None:
    if offline():
        raise UserError(
            f"weights {entry.name} cannot be pulled: DIFFSEG_OFFLINE forbids the "
            "network; give a folder that holds the files",
            option="--from DIR",
        )


def _unwritable(target: Path, err: OSError) -> UserError:
    return UserError(
        f"weights cannot be written to {target} ({err.strerror or err}); give a folder "
        "that is writable and has space in DIFFSEG_HOME"
    )
