"""What every method looks like from outside, and how one is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from diffseg.domain import ModelCard, Proposal, Request
from diffseg.errors import UserError
from diffseg.models import ModelFolder, find_model
from diffseg.progress import Work
from diffseg.segmenters.device import resolve_device
from diffseg.segmenters.intensity import Floats
from diffseg.segmenters.pipeline import Host

GROUP = "diffseg.segmenters"


@runtime_checkable
class Segmenter(Protocol):
    """A loaded model that answers requests."""

    @property
    def card(self) -> ModelCard:
        """The model's card."""

    @property
    def device(self) -> str:
        """Where the network runs: cpu, cuda or mps."""

    def iter_propose(self, request: Request) -> Work[Proposal]:
        """Answer a request piece by piece; closing the generator cancels."""

    def propose(self, request: Request) -> Proposal:
        """Answer a request here and now."""


class Drawing(Segmenter, Protocol):
    """A segmenter that can also be asked for the members of a prepared image."""

    def draw(
        self, image: Floats, *, members: int, steps: int, seed: int
    ) -> Iterator[Floats]:
        """Yield each member's probabilities (K, Z, Y, X) of an image (C, Z, Y, X)."""


class Method(Protocol):
    """What stands behind an entry point of the group ``diffseg.segmenters``."""

    def __call__(self, card: ModelCard, network: Any, host: Host) -> Drawing:
        """Wrap a network that is being trained."""

    def from_model(self, folder: ModelFolder, device: str) -> Segmenter:
        """Load the model in `folder` onto `device`."""


def load_segmenter(
    id_or_dir: str | Path, device: str = "auto", version: str | None = None
) -> Segmenter:
    """Load a model by the method that its card names.

    Parameters
    ----------
    id_or_dir : str or Path
        ``id``, ``id@version`` or the folder of a model.
    device : {"auto", "cpu", "cuda", "mps"}
        See `resolve_device`.
    version : str, optional
        Version of the model; the newest without it.

    Raises
    ------
    UserError
        The model, its method or the device is not there, or the weights are
        not those of the card.
    """
    name = id_or_dir if version is None else f"{id_or_dir}@{version}"
    folder = find_model(name)
    method = load_method(folder.card.method, f"model {folder.name}")
    return method.from_model(folder, resolve_device(device))


def load_method(name: str, wanted_by: str = "recipe") -> Method:
    """Load the method behind an entry point of the group ``diffseg.segmenters``.

    Raises
    ------
    UserError
        No method of that name is installed.
    """
    found = entry_points(group=GROUP, name=name)
    if not found:
        known = ", ".join(sorted(entry_points(group=GROUP).names)) or "none"
        raise UserError(
            f"{wanted_by} wants the method {name!r}, which is not installed; "
            f"there are: {known}"
        )
    method: Method = next(iter(found)).load()
    return method
