"""Which projects were open on this machine lately."""

from __future__ import annotations

import json
from pathlib import Path

from diffseg.models.registry import home
from diffseg.volume import atomic_write_bytes

FILE = "recent-projects.json"
_MOST = 8


def recent_projects() -> tuple[Path, ...]:
    """Folders of projects that are still there, the latest first."""
    try:
        told = json.loads((home() / FILE).read_bytes())
        known = [Path(str(one)) for one in told]
    except (OSError, ValueError, TypeError):
        return ()
    return tuple(one for one in known if is_project(one))


def note_recent(folder: Path) -> None:
    """Note that a project was open; a list that cannot be kept is no trouble."""
    rest = [one for one in recent_projects() if one != folder]
    told = [str(one) for one in (folder, *rest)][:_MOST]
    home().mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(home() / FILE, json.dumps(told, indent=1).encode())


def is_project(folder: Path) -> bool:
    """Whether a folder says that it is a project."""
    return (folder / "project.json").is_file()
