"""Windows: which intensities are shown from black to white, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffseg.errors import UserError
from diffseg.resources import resource
from diffseg.volume.dicom_series import is_dicom
from diffseg.volume.quiet import heard
from diffseg.volume.volume import Volume

AUTO = "Auto 1-99 %"
_LEAST_SEEN, _MOST_SEEN = 0.05, 0.9
FULL = "Full range"
STORED = "as stored"
IF_HU = " (if in HU)"
_SAMPLES = 60_000
_AIR_HU = -900.0
_LOWEST_HU = -4096.0
_BRIGHT_HU = 100.0
_TAGS = [
    "SeriesInstanceUID",
    "NumberOfFrames",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]


@dataclass(frozen=True, slots=True)
class Window:
    """A range of intensities, shown from black (`low`) to white (`high`).

    Parameters
    ----------
    name : str
        As in a list of presets, such as ``"Brain 80/40"`` (width/level).
    low, high : float
        In the volume's own numbers (CT: HU); `low` is below `high`.
    """

    name: str
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.low, self.high]).all() and self.low < self.high):
            raise UserError(
                f"window {self.name!r} from {self.low:g} to {self.high:g}: give two "
                "finite numbers, the lower one first"
            )

    @classmethod
    def of_level(cls, name: str, width: float, level: float) -> Window:
        """Window of a `width` above 0 around a `level`."""
        return cls(name, level - width / 2, level + width / 2)

    @property
    def width(self) -> float:
        """Distance from black to white."""
        return self.high - self.low

    @property
    def level(self) -> float:
        """Intensity that is shown as middle grey."""
        return (self.low + self.high) / 2


def windows_for(volume: Volume) -> tuple[Window, ...]:
    """Windows that fit a volume, the best one first; loads the voxels.

    The ones that a DICOM file brings come first, then the modality's presets, then
    two that are measured. The presets come last, and their names say that they hold
    only in HU, where they may not fit: for a CT without a negative number, which is
    hardly in HU, and for a volume of unknown modality whose numbers look like HU,
    with air near -1000.
    """
    sample = _sample(volume.data[0])
    measured = (_auto(sample), _full(volume.data[0]))
    modality = (volume.source.modality or "").upper()
    known, doubtful = presets(modality), presets("")
    if modality == "CT" and not (sample < 0).any():
        known, doubtful = (), known
    elif not modality and _like_hounsfield(sample):
        doubtful = presets("CT")
    marked = (replace(one, name=f"{one.name}{IF_HU}") for one in doubtful)
    return (*stored_windows(volume), *known, *measured, *marked)


@cache
def presets(modality: str) -> tuple[Window, ...]:
    """Shipped presets of a DICOM modality such as ``"CT"``; none for most."""
    import yaml

    text = resource("presets", "windows.yaml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = yaml.safe_load(text).get(modality, [])
    return tuple(
        Window.of_level(
            f"{row['name']} {row['width']:g}/{row['level']:g}",
            float(row["width"]),
            float(row["level"]),
        )
        for row in rows
    )


def stored_windows(volume: Volume) -> tuple[Window, ...]:
    """Windows that a DICOM file or series brings, in its order; () without one.

    They are in the units that voxels are loaded in, behind the rescale slope.
    """
    if volume.source.format != "dicom":
        return ()
    for header in _headers(volume):
        found = _of_header(header)
        if found:
            return found
    return ()


def _headers(volume: Volume) -> Iterator[Any]:
    """Headers of the volume's files: of the middle one first, as the busiest."""
    from pydicom import dcmread

    for path in _middle_first(_files(volume.source.paths)):
        with heard():
            try:
                header = dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            except Exception:
                continue  # a stray file beside the series is not the series' fault
        uid = volume.source.series_uid
        if uid is None or str(header.get("SeriesInstanceUID", "")) == uid:
            yield header


def _files(paths: Sequence[str]) -> list[Path]:
    found = [Path(path) for path in paths]
    if len(found) == 1 and found[0].is_dir():
        found = sorted(path for path in found[0].rglob("*") if path.is_file())
    return [path for path in found if is_dicom(path)]


def _middle_first(files: list[Path]) -> list[Path]:
    order = sorted(range(len(files)), key=lambda at: abs(at - len(files) // 2))
    return [files[at] for at in order]


def _of_header(header: Any) -> tuple[Window, ...]:
    """Read the windows of one header: its own, or those of its middle frame."""
    for place in (header, *_frame_groups(header)):
        centers = _numbers(place.get("WindowCenter"))
        widths = _numbers(place.get("WindowWidth"))
        pairs = list(zip(centers, widths, strict=False))
        if not pairs:
            continue
        linear = str(place.get("VOILUTFunction") or "LINEAR") == "LINEAR"
        words = _words(place.get("WindowCenterWidthExplanation"))
        names = _names(len(pairs), words)
        made = [
            _window(name, center, width, linear)
            for name, (center, width) in zip(names, pairs, strict=True)
        ]
        return tuple(window for window in made if window is not None)
    return ()


def _frame_groups(header: Any) -> Iterator[Any]:
    """VOI groups of an enhanced file: what its frames share, or its middle one's."""
    shared = header.get("SharedFunctionalGroupsSequence") or []
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    for group in (*shared[:1], *each[len(each) // 2 :][:1]):
        yield from (group.get("FrameVOILUTSequence") or [])[:1]


def _window(name: str, center: float, width: float, linear: bool) -> Window | None:
    """DICOM PS3.3, C.11.2.1.2: LINEAR spans width - 1, centred half a step lower."""
    if linear and width > 1:
        low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    else:
        low, high = center - width / 2, center + width / 2
    if not (np.isfinite([low, high]).all() and low < high):
        return None  # a window of no width shows nothing: as if none were stored
    return Window(name, low, high)


def _names(count: int, words: list[str]) -> list[str]:
    names: list[str] = []
    for index in range(count):
        word = words[index] if index < len(words) else ""
        number = "" if count == 1 else f" {index + 1}"
        name = f"{STORED}: {word}" if word else f"{STORED}{number}"
        names.append(name if name not in names else f"{STORED}{number}: {word}")
    return names


def _numbers(value: Any) -> list[float]:
    return [float(one) for one in _several(value)]


def _words(value: Any) -> list[str]:
    return [str(one).strip() for one in _several(value)]


def _several(value: Any) -> list[Any]:
    """Values of an element that may be missing, single or several."""
    if value is None or value == "":
        return []
    single = isinstance(value, str) or not hasattr(value, "__iter__")
    return [value] if single else list(value)


def _sample(voxels: NDArray[Any]) -> NDArray[np.float32]:
    """Take some voxels from all over; what is not finite is left out."""
    flat = voxels.reshape(-1)
    # An odd stride does not fall into step with rows of even length.
    stride = max(1, flat.size // _SAMPLES) | 1
    some = flat[::stride].astype(np.float32)
    return some[np.isfinite(some)]


def auto_window(voxels: NDArray[Any]) -> Window:
    """Window from the 1st to the 99th percentile of (Z, Y, X) voxels; a few ms.

    An empty background, the smallest value in more than a tenth of the voxels, is
    left out: it would only take contrast from what there is to see.
    """
    return _auto(_sample(voxels))


def _auto(sample: NDArray[np.float32]) -> Window:
    if sample.size:
        seen = sample[sample > sample.min()]
        if _LEAST_SEEN < seen.size / sample.size < _MOST_SEEN:
            sample = seen
    low, high = np.percentile(sample, [1, 99]) if sample.size else (0.0, 1.0)
    if low >= high and sample.size:
        # More than 98 % of one value: the rest is all there is to see.
        low, high = float(sample.min()), float(sample.max())
    return _open(AUTO, float(low), float(high))


def _full(voxels: NDArray[Any]) -> Window:
    low, high = float(voxels.min()), float(voxels.max())
    if not np.isfinite([low, high]).all():
        finite = voxels[np.isfinite(voxels)]
        low, high = (
            (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        )
    return _open(FULL, low, high)


def _open(name: str, low: float, high: float) -> Window:
    """Widen the window of a constant image, so that it is a window."""
    return Window(name, low, high) if low < high else Window(name, low, low + 1.0)


def _like_hounsfield(sample: NDArray[np.float32]) -> bool:
    if not sample.size:
        return False
    low, high = float(sample.min()), float(sample.max())
    return _LOWEST_HU <= low <= _AIR_HU and high > _BRIGHT_HU
