"""DiCLIP put together: what goes through it, and what must not change on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from beside import beside

from diffseg.domain import ImageLabels, Proposal
from diffseg.domain.diclip import DiclipConfig
from diffseg.domain.slice_labels import ABSENT, PRESENT, SliceLabels
from diffseg.errors import UserError
from diffseg.segmenters import load_segmenter
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.source import Slab
from diffseg.segmenters.text.asking import asked_by
from diffseg.segmenters.text.assembly import Trained
from diffseg.segmenters.text.cache import CachedImage, KeyValueCache
from diffseg.segmenters.text.cache_files import save_cache
from diffseg.segmenters.text.loading import backbone_identities
from diffseg.segmenters.text.members import member_levels, member_prompts
from diffseg.segmenters.text.retrieval import adapter_of
from diffseg.segmenters.text.seen import Noise, Seen, fitting_size

pytestmark = pytest.mark.usefixtures("home")


tiny = beside(__file__, "tiny_diclip")
EMBEDDING = 12


def loaded(backbones: Path, out: Path, **changes: Any) -> Diclip:
    found = load_segmenter(tiny.made_model(backbones, out, **changes).path, "cpu")
    assert isinstance(found, Diclip)
    return found


@pytest.fixture
def model(backbones: Path, tmp_path: Path) -> Diclip:
    return loaded(backbones, tmp_path / "model")


def watched(model: Diclip) -> list[str]:
    """Names of the backbones, written down whenever one runs."""
    calls: list[str] = []
    parts = model.network
    tiny.counted(parts.clip.visual.conv1, "image tower", calls)
    tiny.counted(parts.clip.model.token_embedding, "text tower", calls)
    if parts.diffusion is not None:
        tiny.counted(parts.diffusion.unet, "unet", calls)
        tiny.counted(parts.diffusion.vae.encoder, "vae", calls)
    return calls


def seen_by(model: Diclip, volume: Any = None) -> Seen:
    shown = tiny.slice_of(tiny.picture() if volume is None else volume)
    work = model.looker().look(shown, Noise(0, 0, (81,)))
    while True:
        try:
            next(work)
        except StopIteration as stop:
            found: Seen = stop.value
            return found


def same(one: Proposal, other: Proposal) -> bool:
    return np.array_equal(one.probability, other.probability) and np.array_equal(
        one.mask, other.mask
    )


def made_cache(config: DiclipConfig, keys: int = 6, **changes: Any) -> KeyValueCache:
    source = np.random.default_rng(3)
    texts = source.standard_normal((2, EMBEDDING)).astype(np.float32)
    fields: dict[str, Any] = {
        "keys": source.standard_normal((keys, EMBEDDING)).astype(np.float32),
        "classes": np.arange(keys) % 3,
        "names": tiny.LABELS,
        "texts": texts / np.linalg.norm(texts, axis=1, keepdims=True),
        "images": tuple((CachedImage(f"i{n}"),) for n in range(keys)),
        "backbones": backbone_identities(config),
    }
    return KeyValueCache(**{**fields, **changes})


# What a proposal is


def test_words_make_masks_with_probabilities_and_uncertainty(model: Diclip) -> None:
    found = model.propose(tiny.request(text="lesion", members=3))
    assert found.mask.shape == (1, 40, 56)
    assert found.probability.shape == (2, 1, 40, 56)
    assert found.probability[0].max() > 0.5
    assert not found.probability[1].any()  # nobody asked for hair
    assert set(np.unique(found.mask)) == {0, 1}
    assert found.uncertainty.max() > 0
    assert found.provenance.text == "lesion"
    both = model.propose(tiny.request(text="lesion,hair"))
    assert both.probability[1].any()


def test_a_seed_gives_one_answer_and_another_seed_another(
    model: Diclip, backbones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = model.propose(tiny.request(text="lesion", members=2, seed=5))
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "elsewhere"))
    again = loaded(backbones, tmp_path / "again")
    assert same(first, again.propose(tiny.request(text="lesion", members=2, seed=5)))
    other = again.propose(tiny.request(text="lesion", members=2, seed=6))
    assert not same(first, other)


def test_slices_are_the_same_alone_and_among_others(model: Diclip) -> None:
    image = np.random.default_rng(1).random((3, 3, 24, 32), np.float32)
    asked = asked_by(model.card, tiny.request(text="lesion,hair"))

    def drawn(part: Any, planes: range | None = None) -> list[Slab]:
        source: Any = model.source(asked)
        pieces = source(part, members=2, steps=2, seed=7, planes=planes)
        return [one for one in pieces if isinstance(one, Slab)]

    together = drawn(image)
    assert [one.start for one in together] == [0, 0, 1, 1, 2, 2]
    for plane in range(3):
        alone = drawn(image[:, plane : plane + 1])
        among = drawn(image, range(plane, plane + 1))
        for member in range(2):
            wanted = together[2 * plane + member].probability
            assert np.array_equal(alone[member].probability, wanted)
            assert np.array_equal(among[member].probability, wanted)
            np.testing.assert_allclose(wanted.sum(0), 1, atol=1e-5)


def test_whole_members_are_drawn_for_others(model: Diclip) -> None:
    image = np.random.default_rng(1).random((3, 2, 24, 32), np.float32)
    members = list(model.draw(image, members=2, steps=1, seed=0))
    assert [one.shape for one in members] == [(3, 2, 24, 32)] * 2


@pytest.mark.parametrize("shape", [(1, 9, 70), (2, 33, 17), (1, 64, 64)])
@pytest.mark.parametrize("kind", ["grey", "colour", "16 bit"])
def test_any_size_of_grey_and_coloured_images(
    model: Diclip, shape: tuple[int, int, int], kind: str
) -> None:
    volume = tiny.picture(shape, 3 if kind == "colour" else 1)
    if kind == "16 bit":
        volume = type(volume).from_array(np.asarray(volume.data, np.uint16) * 200)
    found = model.propose(tiny.request(volume, text="lesion"))
    assert found.mask.shape == shape
    assert found.probability.max() > 0


def test_sixteen_bits_say_what_eight_do(model: Diclip) -> None:
    volume = tiny.picture(channels=1)
    deep = type(volume).from_array(np.asarray(volume.data, np.uint16) * 257)
    one, other = (
        model.propose(tiny.request(each, text="lesion")) for each in (volume, deep)
    )
    np.testing.assert_allclose(one.probability, other.probability, atol=1e-4)


def test_of_many_channels_the_mean_or_those_named_are_shown(
    backbones: Path, tmp_path: Path
) -> None:
    channels = ("t1", "t2", "flair", "adc")
    volume = tiny.picture(channels=4)
    mean = loaded(backbones, tmp_path / "mean", channels=channels)
    named = loaded(backbones, tmp_path / "n", channels=channels, shown=("flair",))
    assert not same(
        *(one.propose(tiny.request(volume, text="hair")) for one in (mean, named))
    )
    flair = type(volume).from_array(np.asarray(volume.data)[2:3])
    grey = loaded(backbones, tmp_path / "grey", channels=("flair",))
    assert same(
        named.propose(tiny.request(volume, text="hair")),
        grey.propose(tiny.request(flair, text="hair")),
    )
    with pytest.raises(UserError, match="shows channel 'pd', but there are: t1, t2"):
        tiny.made_model(backbones, tmp_path / "x", channels=channels, shown=("pd",))


# Members


def test_the_first_member_is_told_everything_and_others_a_part(model: Diclip) -> None:
    prompts = asked_by(model.card, tiny.request(text="lesion,hair")).prompts
    assert prompts is not None
    assert member_prompts(prompts, 3, 0) is prompts
    told = [member_prompts(prompts, 3, member) for member in range(1, 9)]
    assert len({(one.templates, one.words) for one in told}) > 1
    for one in told:
        assert 1 <= len(one.templates) < len(prompts.templates)
        for some, every in zip(one.words, prompts.words, strict=True):
            assert some
            assert set(some) <= set(every)
        assert one.background == prompts.background
    assert told == [member_prompts(prompts, 3, member) for member in range(1, 9)]


def test_the_first_member_looks_at_the_first_noise_levels() -> None:
    levels = (81, 41, 121)
    assert member_levels(levels, 2, 0, 0) == (81, 41)
    found = {member_levels(levels, 1, 0, member) for member in range(1, 20)}
    assert found == {(81,), (41,), (121,)}


def test_members_differ_and_more_of_them_change_none(model: Diclip) -> None:
    def drawn(count: int) -> list[Any]:
        image = np.random.default_rng(1).random((3, 1, 24, 32), np.float32)
        return list(model.draw(image, members=count, steps=1, seed=0))

    three = drawn(3)
    assert np.array_equal(drawn(1)[0], three[0])
    assert not np.array_equal(three[0], three[1])
    assert not np.array_equal(three[1], three[2])


# What must not change on the way


def test_no_weight_is_plain_clip_bit_for_bit(
    model: Diclip, backbones: Path, tmp_path: Path
) -> None:
    without = loaded(backbones, tmp_path / "without", weight=0, side=32)
    calls = watched(without)
    square = tiny.picture((1, 32, 32))
    seen = seen_by(without, square)
    assert set(calls) == {"image tower"}
    visual: Any = without.network.clip.visual
    kept: list[torch.Tensor] = []
    hook = visual.ln_post.register_forward_hook(lambda *given: kept.append(given[2]))
    with hook:  # the tower alone, as open_clip runs it
        pooled = visual(without.network.clip.normalised(tiny.slice_of(square)[None]))
    assert torch.equal(seen.class_token, pooled)
    assert torch.equal(seen.patches, (kept[0] @ visual.proj)[:, 1:])
    plain = loaded(backbones, tmp_path / "plain", diffusion=None, side=32)
    asked = tiny.request(text="lesion", members=2)
    assert same(without.propose(asked), plain.propose(asked))
    enhanced = loaded(backbones, tmp_path / "enhanced", side=32)
    assert not same(without.propose(asked), enhanced.propose(asked))


def test_the_map_leaves_the_original_stream_and_the_class_token(
    backbones: Path, tmp_path: Path
) -> None:
    seen = {
        weight: seen_by(loaded(backbones, tmp_path / f"{weight}", weight=weight))
        for weight in (0, 1, 5)
    }
    for weight in (1, 5):
        assert torch.equal(seen[weight].class_token, seen[0].class_token)
        assert seen[weight].affinity is not None
        assert torch.equal(seen[weight].affinity, seen[0].affinity)  # type: ignore[arg-type]
        assert not torch.equal(seen[weight].patches, seen[0].patches)
    assert not torch.equal(seen[1].patches, seen[5].patches)


def with_cache(
    backbones: Path, out: Path, order: list[int] | None = None, **changes: Any
) -> Diclip:
    plain = tiny.made_model(backbones, out / "plain")
    config = DiclipConfig.model_validate(plain.card.network)
    cache = made_cache(config)
    if order is not None:
        cache = (
            made_cache(config, keys=6)
            .without(*range(6))
            .with_keys(
                cache.keys[order],
                cache.classes[order],
                [cache.images[index] for index in order],
            )
        )
    save_cache(cache, out / "cache")
    trained = changes.pop("adapter", None)
    if trained is not None:
        adapter = adapter_of(cache, **trained)
        sizes = {"features": EMBEDDING, "classes": 2, "keys": 6, **trained}
        changes["adapter"] = Trained(sizes, adapter.state_dict())
    return loaded(backbones, out / "model", cache=out / "cache", **changes)


def test_a_cache_has_a_say(model: Diclip, backbones: Path, tmp_path: Path) -> None:
    asked = tiny.request(text="lesion")
    cached = with_cache(backbones, tmp_path / "a")
    assert not same(model.propose(asked), cached.propose(asked))
    mute = with_cache(backbones, tmp_path / "b", cache_weight=0)
    np.testing.assert_allclose(
        mute.propose(asked).probability, model.propose(asked).probability, atol=1e-5
    )
    positive = with_cache(backbones, tmp_path / "c", negative=False)
    assert not same(positive.propose(asked), cached.propose(asked))


def test_the_order_of_a_caches_keys_changes_nothing(
    backbones: Path, tmp_path: Path
) -> None:
    asked = tiny.request(text="lesion,hair")
    one = with_cache(backbones, tmp_path / "a")
    other = with_cache(backbones, tmp_path / "b", [5, 2, 0, 4, 1, 3])
    # The refinement to pixels makes more of a difference in rounding.
    np.testing.assert_allclose(
        one.propose(asked).probability, other.propose(asked).probability, atol=1e-3
    )
    swapped = one.network.cache
    assert swapped is not None
    wrong = made_cache(
        one.network.config, classes=np.roll(swapped.classes, 1)
    )  # other values of the same keys are another cache
    save_cache(wrong, tmp_path / "wrong")
    third = loaded(backbones, tmp_path / "third", cache=tmp_path / "wrong")
    found = third.propose(asked).probability - one.propose(asked).probability
    assert abs(found).max() > 0.05


def test_an_adapter_begins_as_static_retrieval(backbones: Path, tmp_path: Path) -> None:
    static = with_cache(backbones, tmp_path / "static")
    begun = with_cache(backbones, tmp_path / "begun", adapter={"prompts": 0})
    seen = seen_by(static)
    wanted = static.network.answerer.retrieved_scores(seen)
    found = begun.network.answerer.retrieved_scores(seen_by(begun))
    assert wanted is not None
    assert found is not None
    torch.testing.assert_close(found, wanted)
    learnt = with_cache(backbones, tmp_path / "learnt", adapter={"prompts": 4})
    other = learnt.network.answerer.retrieved_scores(seen)
    assert other is not None
    assert not torch.allclose(other, wanted)
    assert learnt.propose(tiny.request(text="hair")).probability.any()


# What was seen before is not computed again


def test_a_second_prompt_runs_no_backbone_on_the_image(model: Diclip) -> None:
    calls = watched(model)
    model.propose(tiny.request(text="lesion", members=2))
    assert set(calls) == {"image tower", "text tower", "unet", "vae"}
    calls.clear()
    second = model.propose(tiny.request(text="hair", members=2))
    assert not calls  # the words of both were embedded with the first
    calls.clear()
    model.propose(tiny.request(text="lesion=white spot", members=2))
    assert set(calls) == {"text tower"}
    again = model.propose(tiny.request(text="hair", members=2))
    assert same(second, again)


def test_features_outlive_the_process_and_follow_from_all_that_counts(
    backbones: Path, tmp_path: Path
) -> None:
    loaded(backbones, tmp_path / "a").propose(tiny.request(text="lesion"))

    def calls_of(
        name: str, volume: Any = None, seed: int = 0, **changes: Any
    ) -> set[str]:
        other = loaded(backbones, tmp_path / name, **changes)
        calls = watched(other)
        other.propose(tiny.request(volume, text="lesion", seed=seed))
        return set(calls)

    assert calls_of("same") == set()
    assert calls_of("same but words", answer="maps", similarity="surgery") == set()
    every = {"image tower", "unet", "vae"}
    assert calls_of("image", tiny.picture(seed=1)) == every
    assert calls_of("seed", seed=1) == every
    assert calls_of("settings", groups=4) == every
    assert calls_of("level", timesteps=(61,)) == every
    # Another way through CLIP asks the diffusion model nothing new.
    assert calls_of("weight", weight=0.5) == {"image tower"}
    assert calls_of("affinity", affinity_layers=1) == {"image tower"}


def test_another_backbone_finds_no_features_of_this_one(
    backbones: Path, tmp_path: Path
) -> None:
    first = loaded(backbones, tmp_path / "a").propose(tiny.request(text="lesion"))
    tiny.write_clip("openai", tmp_path / "clip", seed=1)
    other = loaded(backbones, tmp_path / "b", clip=str(tmp_path / "clip"))
    calls = watched(other)
    assert not same(first, other.propose(tiny.request(text="lesion")))
    assert set(calls) == {"image tower", "text tower"}  # the same diffusion model
    tiny.write_diffusion("sd1", tmp_path / "sd", seed=1)
    third = loaded(backbones, tmp_path / "c", diffusion=str(tmp_path / "sd"))
    calls = watched(third)
    assert not same(first, third.propose(tiny.request(text="lesion")))
    assert set(calls) == {"image tower", "unet", "vae"}


def test_a_damaged_entry_is_computed_anew_and_said(model: Diclip) -> None:
    asked = tiny.request(text="lesion")
    first = model.propose(asked)
    entries = list(model.store.folder.glob("*.safetensors"))
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:-5])
    second = model.propose(asked)
    assert same(first, second)
    told = [line for line in second.warnings if "damaged" in line]
    assert len(told) > 1
    assert not [line for line in first.warnings if "damaged" in line]
    assert not [line for line in model.propose(asked).warnings if "damaged" in line]


def test_without_a_store_the_answer_is_the_same(
    model: Diclip, backbones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = model.propose(tiny.request(text="lesion", members=2))
    monkeypatch.setenv("DIFFSEG_FEATURES_MB", "0")
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "none"))
    bare = loaded(backbones, tmp_path / "bare")
    assert same(wanted, bare.propose(tiny.request(text="lesion", members=2)))
    assert not (tmp_path / "none").exists()


# Labels


def test_what_is_absent_is_an_empty_mask_and_nothing_runs(model: Diclip) -> None:
    calls = watched(model)
    labels = ImageLabels.parse("lesion=absent")
    found = model.propose(tiny.request(text="lesion", labels=labels))
    assert not found.mask.any()
    assert not found.probability.any()
    assert not calls
    everything = ImageLabels.parse("lesion=absent,hair=absent")
    assert not model.propose(tiny.request(labels=everything)).mask.any()


def test_slices_without_a_class_are_empty_of_it(model: Diclip) -> None:
    volume = tiny.picture((3, 24, 32))
    states = np.zeros((3, 2), np.uint8)
    states[:, 0] = PRESENT, ABSENT, PRESENT
    said = SliceLabels(tiny.LABELS, states)
    found = model.propose(tiny.request(volume, slice_labels=said))
    assert found.probability[0, 0].any()
    assert not found.probability[0, 1].any()
    assert found.probability[0, 2].any()
    assert not found.probability[1].any()  # hair: nobody speaks of it


# Variants


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": "code"},
        {"variant": "code", "refinement": ("affinity", "diffusion", "field")},
        {"refinement": ()},
        {"refinement": ("diffusion", "pixels", "field"), "fine_side": 20},
        {"fusion": "clip", "diffusion": None},
        {"fusion": "gated"},
        {"attention_layers": ("up_blocks.2.attentions.0",), "draws": 2, "seen": 64},
    ],
)
def test_variants_run_and_differ_from_the_papers(
    model: Diclip, backbones: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    asked = tiny.request(text="lesion")
    other = loaded(backbones, tmp_path / "other", **changes)
    found = other.propose(asked)
    assert found.probability[0].max() > 0
    assert not same(found, model.propose(asked))
    calls = watched(other)
    assert same(found, other.propose(asked))
    assert not calls


def test_a_head_answers_without_words_and_without_diffusion(
    backbones: Path, tmp_path: Path
) -> None:
    from diffseg.networks import build_network

    sizes = {"layers": 4, "features": 16, "classes": 2, "width": 8, "heads": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = build_network("diclip_head", **sizes)
    trained = Trained(sizes, head.state_dict())
    model = loaded(backbones, tmp_path / "m", head=trained, answer="head")
    calls = watched(model)
    found = model.propose(tiny.request())
    assert set(calls) == {"image tower"}
    assert found.probability.sum(0).max() <= 1 + 1e-5
    one = model.propose(tiny.request(labels=ImageLabels.parse("hair")))
    assert not one.probability[0].any()
    assert one.probability[1].any()
    maps = loaded(backbones, tmp_path / "maps", head=trained)
    assert not same(found, maps.propose(tiny.request()))


def test_sizes_keep_the_proportions_in_whole_patches() -> None:
    assert fitting_size((320, 320), 320, (16, 16)) == (320, 320)
    assert fitting_size((100, 200), 320, (16, 16)) == (160, 320)
    assert fitting_size((10, 1000), 320, (16, 16), 3) == (48, 320)
    assert fitting_size((512, 512), 224, (14, 14)) == (224, 224)
