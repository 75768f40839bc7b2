"""The stage that selects pixels, with teachers whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.diffusion import noise_schedule
from diffseg.domain.slice_labels import ABSENT, PRESENT, UNKNOWN, SliceLabels
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.segmenters.weak.features import CleanMaps
from diffseg.segmenters.weak.thresholds import Threshold
from diffseg_training.cache import Cache
from diffseg_training.labelled import LabelledExample
from diffseg_training.settings.cldf import Gradients, Selecting
from diffseg_training.weak import choosing
from diffseg_training.weak.choosing import Teachers
from diffseg_training.weak.pixels import iter_pixels, pixel_files, places

SIZE = (10, 12)
STATES = ([PRESENT], [ABSENT], [UNKNOWN], [PRESENT])


class Brightness(nn.Module):
    """A classifier whose logit is the sum of what is bright: its gradient is known."""

    def forward(self, noisy: Tensor, timesteps: Tensor) -> Tensor:
        bright = functional.softplus(4 * noisy[:, 0]).sum((1, 2)) / 50
        return torch.stack([torch.zeros_like(bright), bright], dim=1)[:, None]


class Mean(nn.Module):
    """A classifier of slices that sees the structure where they are bright."""

    classes = 1

    def stages(self, image: Tensor) -> tuple[Tensor, ...]:
        return (image,)

    def answer(self, maps: tuple[Tensor, ...]) -> Tensor:
        return maps[0].mean((1, 2, 3))[:, None]


def encoded(image: Tensor) -> list[Tensor]:
    return [image[:, :, ::2, ::2] * 10, image + 3]


def teachers() -> Teachers:
    return Teachers(
        Brightness(),  # type: ignore[arg-type]
        Mean(),
        "bright",
        CleanMaps(encoded, (1, 1)),
        noise_schedule("linear"),
        (50,),
        4,
    )


def examples() -> list[LabelledExample]:
    source = torch.Generator().manual_seed(0)
    image = 0.1 * torch.rand((1, 4, *SIZE), generator=source)
    image[0, 0, 2:6, 3:7] = 3.0
    image[0, 3] = 0.5  # nothing stands out
    states = np.array(STATES, np.uint8)
    return [LabelledExample("a", "a", image, SliceLabels(("disc",), states))]


@pytest.fixture(autouse=True)
def bright_cam(monkeypatch: pytest.MonkeyPatch) -> None:
    def cam(source: str, network: Any, images: Tensor, index: int) -> np.ndarray:
        assert (source, index) == ("bright", 0)
        flat = images[:, 0].numpy()
        span = np.ptp(flat, axis=(1, 2), keepdims=True)
        low = flat.min(axis=(1, 2), keepdims=True)
        return np.where(span > 0, (flat - low) / np.where(span > 0, span, 1), 0)

    monkeypatch.setattr(choosing, "cam_maps", cam)


def selecting(**more: object) -> Selecting:
    return Selecting(**{"blur": 0.0, "foreground": 9, "background": 20} | more)  # type: ignore[arg-type]


def selected(folder: Path, options: Selecting | None = None) -> dict[str, Any]:
    return run(
        iter_pixels(
            examples(),
            teachers(),
            Gradients(timesteps=(5, 10)),
            options or selecting(),
            folder,
            seed=0,
            device="cpu",
        )
    )


def test_slices_are_those_that_show_something_and_empty_ones_if_asked() -> None:
    shown, empty = places(examples(), selecting())
    assert [place.plane for place in shown] == [0, 3]
    assert not empty
    shown, empty = places(examples(), selecting(slices=1, negatives=5))
    assert [place.plane for place in shown] == [0]
    assert [place.plane for place in empty] == [1]


def test_features_are_those_at_the_selected_pixels(tmp_path: Path) -> None:
    told = selected(tmp_path)
    assert (told["slices"], told["selected"], told["skipped"]) == (2, 1, 1)
    (name,) = pixel_files(tmp_path)
    store = Cache(tmp_path)
    features, classes = (store.read(name, what) for what in ("features", "classes"))
    assert (classes == 1).sum() == 9
    assert (classes == 0).sum() == 20
    # The second map is the image itself: foreground is what is bright in it.
    assert (features[classes == 1, 1] > 5).all()
    assert (features[classes == 0, 1] < 4).all()


def test_maps_that_are_low_where_the_class_is_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert selected(tmp_path)["upside_down"] == []
    right: Any = choosing.cam_maps
    monkeypatch.setattr(choosing, "cam_maps", lambda *given: 1 - right(*given))
    options = selecting(fusion="gradient")
    assert selected(tmp_path / "turned", options)["upside_down"] == ["disc"]


def test_empty_slices_are_looked_at_as_a_proposal_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[list[int]] = []
    plain = CleanMaps.__call__

    def noted(self: CleanMaps, image: Tensor, states: Tensor, *more: Any) -> Any:
        looked.append(states[:, 0].tolist())
        return plain(self, image, states, *more)

    monkeypatch.setattr(CleanMaps, "__call__", noted)
    selected(tmp_path, selecting(negatives=1))
    assert looked == [[PRESENT, PRESENT], [PRESENT]]


def test_a_slice_in_which_nothing_is_sure_is_skipped_and_counted(
    tmp_path: Path,
) -> None:
    told = selected(tmp_path, selecting(negatives=1))
    assert told["skipped"] == 1
    assert told["negatives"] == 1
    assert len(pixel_files(tmp_path)) == 2  # with the one that shows nothing
    high = Threshold(kind="fixed", value=2)
    with pytest.raises(UserError, match="of 2 slices none has pixels"):
        selected(tmp_path / "none", selecting(cam=high))


def test_what_is_there_is_not_done_again(tmp_path: Path) -> None:
    selected(tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    first = min(before)
    (tmp_path / first).unlink()
    selected(tmp_path)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    again = {name for name in before if after[name] != before[name]}
    # The slices of one batch share a look; no other is touched.
    assert {name.split(".")[0] for name in again} == {first.split(".")[0]}
