"""What is told of a proposal from words before it is made."""

from __future__ import annotations

import time
from collections.abc import Generator
from mmap import mmap
from pathlib import Path

import pytest
from beside import beside

from diffseg.domain import ImageLabels, Region
from diffseg.domain.vocabulary import speaks_of_words, vocabulary_of
from diffseg.errors import UserError
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.probing import iter_probe, probe
from diffseg.segmenters.text import outlook
from diffseg.segmenters.text.outlook import Scales

tiny = beside(__file__, "tiny_diclip")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("backbones")
    tiny.write_backbones(made)
    tiny.made_model(made, made / "model")
    return made / "model"


@pytest.fixture
def model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diclip:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    found = load_segmenter(folder, "cpu")
    assert isinstance(found, Diclip)
    return found


def test_a_slice_is_timed_once_and_nothing_of_it_is_kept(
    model: Diclip, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    tiny.counted(model.network.clip.visual.conv1, "clip", calls)
    first = probe(model, tiny.request(text="lesion", members=3))
    assert first.seconds > 0
    assert first.memory_bytes > 0
    assert (first.members, first.steps) == (3, 1)
    assert calls
    calls.clear()
    monkeypatch.setattr(outlook, "_pace", None)  # is not asked again
    probe(model, tiny.request(text="hair", members=3))
    assert not calls
    model.propose(tiny.request(text="lesion"))
    assert calls  # noise was timed, and this image was not seen


def test_it_can_be_left_between_the_backbones(model: Diclip) -> None:
    calls: list[str] = []
    tiny.counted(model.network.clip.visual.conv1, "clip", calls)
    tiny.counted(model.network.diffusion.unet, "unet", calls)  # type: ignore[union-attr]
    work = iter_probe(model, tiny.request(text="lesion"))
    while not calls:
        next(work)
    assert calls == ["unet"]
    work.close()
    assert not model.paces


def test_it_grows_with_members_slices_and_what_is_looked_for(
    model: Diclip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pace(*_: object) -> Generator[None, None, tuple[float, int]]:
        yield None
        return 10.0, 5

    monkeypatch.setattr(outlook, "_pace", pace)
    stack = tiny.picture((3, 40, 56))

    def seconds(**fields: object) -> float:
        return probe(model, tiny.request(stack, **fields)).seconds

    assert seconds(members=1) == pytest.approx(30, abs=1)
    assert seconds(members=4) == pytest.approx(120, abs=2)
    one = Region((1, 2), (0, 40), (0, 56))
    assert seconds(members=1, region=one) == pytest.approx(10, abs=1)
    absent = ImageLabels.parse("lesion=absent")
    assert seconds(members=1, text="lesion", labels=absent) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("words", ["lesion=病", "lesion=" + "brown spot " * 60])
def test_words_that_clip_cannot_read_are_told_before_anything_runs(
    model: Diclip, words: str
) -> None:
    calls: list[str] = []
    tiny.counted(model.network.clip.visual.conv1, "clip", calls)
    with pytest.raises(UserError) as told:
        probe(model, tiny.request(text=words))
    assert speaks_of_words(str(told.value))
    assert not calls


@pytest.mark.parametrize(
    "text", ["", "lesion,,hair", "lesion=spot,hair=spot", "yacht", "boat=spot"]
)
def test_each_error_about_words_is_known_as_one(model: Diclip, text: str) -> None:
    known = vocabulary_of(model.card)
    assert known is not None
    with pytest.raises(UserError) as told:
        known.asked(text, ImageLabels())
    assert speaks_of_words(str(told.value)) or "both called" in str(told.value)
    assert not speaks_of_words("the image has two channels")


def test_a_vocabulary_names_classes_first(model: Diclip) -> None:
    known = vocabulary_of(model.card)
    assert known is not None
    assert known.all_words == ("lesion", "hair", "tumour", "mass", "nucleus", "cell")
    assert known.words_of("hair") == ("nucleus", "cell")
    assert known.silent == ()


def test_memory_is_weighed_while_it_is_held() -> None:
    # Not the allocator's: after a training in this process it keeps what was freed.
    with Scales() as scales, mmap(-1, 64_000_000) as held:
        held.write(b"1" * 64_000_000)
        time.sleep(0.1)
    assert 40e6 < scales.peak < 400e6
