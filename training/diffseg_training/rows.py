"""One line of a manifest, before its files are looked for."""

from __future__ import annotations

from dataclasses import dataclass

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class Row:
    """What a manifest says of one case; paths are relative to its folder.

    `labels` are the names present, None where nothing is known; `where` is the
    place that an error names.
    """

    where: str
    case: str
    group: str
    split: str
    images: tuple[str, ...]
    mask: str
    labels: tuple[str, ...] | None
    mask_2: str = ""
