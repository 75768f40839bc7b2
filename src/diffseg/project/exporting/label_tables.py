"""Label tables of ITK-SNAP, 3D Slicer and nnU-Net, to and from ours.

None of the three carries codes; nnU-Net carries no colours either.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diffseg.domain import Label, LabelTable
from diffseg.errors import UserError
from diffseg.volume import atomic_write_bytes

PALETTE = (
    "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#F0E442",
)  # fmt: skip
"""Okabe and Ito's colours, which everybody tells apart."""

_SNAP_LINE = re.compile(
    r'^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+([\d.eE+-]+)\s+(\d+)\s+(\d+)\s+"(.*)"\s*$'
)
_SNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
"""
_SLICER_LINE = re.compile(r"^(\d+)\s+(\S+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\d+)$")


def read_label_table(path: str | Path) -> LabelTable:
    """Read a table: ``.json`` is nnU-Net's, ``.ctbl`` Slicer's, ``.txt`` either.

    Background, and nnU-Net's ``ignore``, are left out.

    Raises
    ------
    UserError
        The file is none of these, or its labels cannot stand in one mask.
    """
    where = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "not text"
        raise UserError(f"{where}: {reason}; check the file") from err
    if where.lower().endswith(".json"):
        labels = _from_nnunet(text, where)
    else:
        labels = _from_lines(text, where)
    if not labels:
        raise UserError(f"{where}: no label but the background")
    try:
        return LabelTable(labels=tuple(labels))
    except ValidationError as err:
        raise UserError(f"{where}: {err.errors()[0]['msg']}") from None


def write_label_table(
    path: str | Path, table: LabelTable, *, overwrite: bool = False
) -> Path:
    """Write a table: ``.json`` for nnU-Net, ``.ctbl`` for Slicer, ``.txt`` for SNAP.

    In Slicer's table a blank in a name becomes an underscore, which Slicer shows as a
    blank. nnU-Net's is the ``labels`` of a ``dataset.json``: class indices from 1.

    Raises
    ------
    UserError
        The file is there and `overwrite` is not given, the suffix is another, or a
        name cannot be told in that format.
    """
    place = Path(path)
    writers: dict[str, Callable[[LabelTable], str]] = {
        ".txt": itksnap_text,
        ".ctbl": slicer_text,
        ".json": lambda one: json.dumps({"labels": nnunet_labels(one)}, indent=1),
    }
    write = writers.get(place.suffix.lower())
    if write is None:
        raise UserError(f"{path}: give a name that ends in .txt, .ctbl or .json")
    if place.exists() and not overwrite:
        raise UserError(f"{path} is there; choose another name or ask to overwrite")
    return atomic_write_bytes(place, write(table).encode())


def itksnap_text(table: LabelTable) -> str:
    """Give the text of an ITK-SNAP label description file, background first."""
    lines = ['    0     0    0    0        0  0  0    "Clear Label"']
    for label in table.each():
        if '"' in label.name or "\n" in label.name:
            raise _unsayable(label.name, "ITK-SNAP", 'a quote (")')
        red, green, blue = rgb_of(label.color)
        lines.append(
            f"{label.value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "
            f'"{label.name}"'
        )
    return _SNAP_HEAD + "\n".join(lines) + "\n"


def slicer_text(table: LabelTable) -> str:
    """Give the text of a Slicer colour table, background first."""
    names = ["_".join(label.name.split()) for label in table.each()]
    for name in names:
        if names.count(name) > 1:
            raise UserError(
                f"label {name!r}: two names that differ in blanks only are one to "
                "Slicer; rename one"
            )
    lines = ["# Color table file", f"# {len(table) + 1} values", "0 background 0 0 0 0"]
    for name, label in zip(names, table.each(), strict=True):
        red, green, blue = rgb_of(label.color)
        lines.append(f"{label.value} {name} {red} {green} {blue} 255")
    return "\n".join(lines) + "\n"


def nnunet_labels(table: LabelTable, ignore: bool = False) -> dict[str, int]:
    """``labels`` of a ``dataset.json``: class indices, and ``ignore`` as the last."""
    for name in table.names:
        if name in ("background", "ignore"):
            raise _unsayable(name, "nnU-Net", "a name of its own")
    labels = {"background": 0}
    labels |= {name: index for index, name in enumerate(table.names, start=1)}
    return labels | ({"ignore": len(table) + 1} if ignore else {})


def rgb_of(color: str) -> tuple[int, int, int]:
    """Red, green and blue in 0..255 of ``#RRGGBB``."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


def distinct(names: Iterable[str]) -> list[str]:
    """The names, those given before with a number behind: ``cyst``, ``cyst (2)``."""
    found: list[str] = []
    for name in names:
        wanted, count = name, 1
        while wanted in found:
            count += 1
            wanted = f"{name} ({count})"
        found.append(wanted)
    return found


def _from_lines(text: str, where: str) -> list[Label]:
    """Labels of an ITK-SNAP file or of a Slicer colour table, line by line."""
    labels = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        snap, slicer = _SNAP_LINE.match(line), _SLICER_LINE.match(line.strip())
        if snap is not None:
            value, *color = (int(part) for part in snap.groups()[:4])
            name = snap[8]
        elif slicer is not None:
            value, name = int(slicer[1]), slicer[2].replace("_", " ")
            color = [int(part) for part in slicer.groups()[2:5]]
        else:
            raise UserError(f"{where}: line {number} is no label of ITK-SNAP or Slicer")
        if value:
            labels.append(_label(name, value, color, f"{where}: line {number}"))
    return labels


def _from_nnunet(text: str, where: str) -> list[Label]:
    try:
        listed = json.loads(text)["labels"]
        pairs = list(listed.items())
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{where}: not a dataset.json with labels") from None
    if all(str(key).isdigit() for key, _ in pairs):  # the Decathlon's way round
        pairs = [(str(name), int(key)) for key, name in pairs]
    labels: list[Label] = []
    for name, value in pairs:
        if not isinstance(value, int):
            raise UserError(
                f"{where}: label {name!r} is a region of several values; a mask holds "
                "one label at a voxel"
            )
        if value and name != "ignore":
            red_green_blue = rgb_of(PALETTE[len(labels) % len(PALETTE)])
            labels.append(_label(name, value, red_green_blue, where))
    return labels


def _label(name: str, value: int, color: Sequence[int], where: str) -> Label:
    shown = "#" + "".join(f"{part:02X}" for part in color)
    given: dict[str, Any] = {"name": name.strip(), "value": value, "color": shown}
    try:
        return Label(**given)
    except ValidationError as err:
        told = err.errors()[0]
        raise UserError(
            f"{where}: label {name!r}: {told['loc'][0]} {told['input']!r} is not one "
            f"of ours ({told['msg']})"
        ) from None


def _unsayable(name: str, where: str, what: str) -> UserError:
    return UserError(f"label {name!r}: {where} cannot tell {what}; rename it")
