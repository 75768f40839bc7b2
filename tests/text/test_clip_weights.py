"""CLIPs from files as open_clip publishes them: read, identified, and refused."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from beside import beside
from torch import Tensor

from diffseg.errors import UserError
from diffseg.models import clip_weights, pulling
from diffseg.models.clip_weights import Clip, find_clip, load_clip
from diffseg.networks.clip_streams import clip_streams

tiny = beside(__file__, "tiny_clip")


def images(size: int = 32, channels: int = 3) -> Tensor:
    source = torch.Generator().manual_seed(2)
    return torch.rand(2, channels, size, size, generator=source)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clip") / "hub"
    tiny.write_folder(place)
    return place


@pytest.fixture(scope="module")
def medical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("clip") / "medical"
    tiny.write_biomedical(place)
    return place


def loaded(folder: Path) -> Clip:
    with tiny.small_timm_vit():
        return load_clip(folder)


def test_a_folder_of_the_hub_is_read(folder: Path) -> None:
    clip = load_clip(f"file:{folder}")
    model = tiny.clip_model()
    assert (clip.dim, clip.patch, clip.context_length) == (12, (8, 8), 77)
    assert (clip.mean, clip.std) == (tuple(tiny.MEAN), tuple(tiny.STD))
    x = clip.normalised(images())
    mean, std = (torch.tensor(v)[:, None, None] for v in (tiny.MEAN, tiny.STD))
    torch.testing.assert_close(x, (images() - mean) / std)
    assert torch.equal(clip.model.encode_image(x), model.encode_image(x))
    texts = ["a photo of a bird", "a tumour"]
    import open_clip

    theirs = model.encode_text(open_clip.tokenize(texts))
    assert torch.equal(clip.embedded_texts(texts), theirs)


def test_it_is_frozen_and_draws_no_random_numbers(folder: Path) -> None:
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    clip = load_clip(folder)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not clip.model.training
    assert not any(p.requires_grad for p in clip.model.parameters())
    assert not clip.embedded_texts(["a bird"]).requires_grad


def test_open_clip_reads_the_same_folder_alike(folder: Path) -> None:
    import open_clip

    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    theirs.requires_grad_(False)  # torch takes another way through it with gradients
    ours = load_clip(folder)
    x = ours.normalised(images())
    assert torch.equal(ours.model.encode_image(x), theirs.encode_image(x))
    assert list(theirs.visual.image_mean) == list(ours.mean)


def test_timm_and_bert_are_read_without_a_network(medical: Path) -> None:
    clip = loaded(medical)
    assert (clip.dim, clip.patch, clip.context_length) == (12, (8, 8), 32)
    model = tiny.write_biomedical(medical)
    x = clip.normalised(images())
    assert torch.equal(clip.model.encode_image(x), model.encode_image(x))
    tokens = clip.tokenizer(["glioma in the brain", "normal tissue"])
    words = ["[CLS]", "glioma", "in", "the", "brain", "[SEP]"]
    wanted = [tiny.VOCABULARY.index(word) for word in words]
    assert tokens.shape == (2, 32)
    assert tokens[0, :6].tolist() == wanted
    assert torch.equal(
        clip.embedded_texts(["glioma in the brain", "normal tissue"]),
        model.encode_text(tokens),
    )
    seen = clip_streams(clip.visual, x)
    assert torch.equal(seen.class_token, model.encode_image(x))


def test_a_file_for_an_architecture_that_open_clip_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    config = tiny.model_config(layers=2)
    monkeypatch.setattr(open_clip, "list_models", lambda: ["ViT-B-16-quickgelu"])
    monkeypatch.setattr(open_clip, "get_model_config", lambda name: config)
    model = tiny.clip_model(layers=2)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    file = tmp_path / "trained.pt"
    torch.save({"epoch": 3, "state_dict": state}, file)
    clip = load_clip(f"open_clip:ViT-B-16-quickgelu/{file}")
    x = clip.normalised(images())
    assert torch.equal(clip.model.encode_image(x), model.encode_image(x))
    assert clip.mean == pytest.approx((0.48145, 0.45783, 0.40821), abs=1e-5)
    with pytest.raises(UserError, match="no architecture 'ViT-B-61-quickgelu'; did"):
        load_clip(f"open_clip:ViT-B-61-quickgelu/{file}")
    with pytest.raises(UserError, match="is no file of weights"):
        load_clip("open_clip:ViT-B-16-quickgelu/nowhere.pt")


def test_what_was_pulled_is_used_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, medical: Path
) -> None:
    import open_clip

    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    config = tiny.model_config()
    asked: list[str] = []
    monkeypatch.setattr(
        open_clip, "get_model_config", lambda name: asked.append(name) or config
    )
    for name, source in (("openai-vitb16", folder), ("biomedclip", medical)):
        entry = pulling.find_public(name)
        entry.folder.mkdir(parents=True)
        for file in entry.files:
            shutil.copy(source / file.name, entry.folder / file.name)
        (entry.folder / pulling.RECEIPT).write_text("{}")
    clip = load_clip("openai-vitb16")
    # Its activation is part of the architecture: with the other, all is a bit wrong.
    assert asked == ["ViT-B-16-quickgelu"]
    x = clip.normalised(images())
    assert torch.equal(clip.model.encode_image(x), tiny.clip_model().encode_image(x))
    again = load_clip("open_clip:ViT-B-16-quickgelu/openai")
    assert again.identity == clip.identity
    with tiny.small_timm_vit():
        biomedical = load_clip("biomedclip")
    assert biomedical.context_length == 32
    assert biomedical.identity == loaded(medical).identity


def test_the_catalogue_names_what_a_clip_needs() -> None:
    known = {entry.name: entry for entry in pulling.public_weights()}
    names = [file.name for file in known["biomedclip"].files]
    assert names == [
        "open_clip_pytorch_model.bin",
        "open_clip_config.json",
        "config.json",
        "vocab.txt",
    ]
    assert "MIT" in known["openai-vitb16"].licence
    import open_clip

    architecture = (known["openai-vitb16"].teacher or "").split(":")[1].split("/")[0]
    assert open_clip.get_model_config(architecture)["quick_gelu"]


def test_the_identity_is_that_of_the_content(folder: Path, tmp_path: Path) -> None:
    first = find_clip(folder)
    copy = tmp_path / "elsewhere"
    shutil.copytree(folder, copy)
    config = copy / "open_clip_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()), indent=7))
    identity = clip_weights.identity_of(first)
    assert len(identity) == 64
    assert clip_weights.identity_of(find_clip(copy)) == identity
    changed = json.loads(config.read_text())
    changed["model_cfg"]["quick_gelu"] = False
    config.write_text(json.dumps(changed))
    assert clip_weights.identity_of(find_clip(copy)) != identity
    other = tmp_path / "other"
    tiny.write_folder(other, seed=1)
    assert clip_weights.identity_of(find_clip(other)) != identity


def test_another_vocabulary_is_another_identity(medical: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(medical, copy)
    one = clip_weights.identity_of(find_clip(medical))
    assert clip_weights.identity_of(find_clip(copy)) == one
    (copy / "vocab.txt").write_text("\n".join(reversed(tiny.VOCABULARY)))
    assert clip_weights.identity_of(find_clip(copy)) != one


@pytest.mark.parametrize("name", ["openai-vitb16", "biomedclip"])
def test_weights_that_are_not_here_are_told_in_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        load_clip(name)
    said = str(caught.value)
    assert "\n" not in said
    for word in ("MB", "MIT", "https://", f"diffseg models pull {name}", "--from"):
        assert word in said
    for file in pulling.find_public(name).files:
        assert file.name in said
    assert not list(tmp_path.iterdir())


def _without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def _archive(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    with zipfile.ZipFile(folder / "open_clip_pytorch_model.bin", "w") as archive:
        archive.writestr("ViT/constants.pkl", b"")


def _configured(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def written(folder: Path) -> None:
        file = folder / "open_clip_config.json"
        content = json.loads(file.read_text())
        change(content["model_cfg"])
        file.write_text(json.dumps(content))

    return written


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (_without("open_clip_config.json"), "open_clip_config.json is not there"),
        (_without("open_clip_model.safetensors"), "holds neither .* nor "),
        (_archive, "TorchScript archive, which holds a program"),
        (_configured(lambda c: c["vision_cfg"].update(layers=3)), "another archit"),
        (_configured(lambda c: c["vision_cfg"].update(width=24)), "another archit"),
        (_configured(lambda c: c.update(multimodal_cfg={})), "writes texts"),
        (_configured(lambda c: c.pop("text_cfg")), "describes no model"),
        (_configured(lambda c: c["vision_cfg"].update(no_key=1)), "builds no model"),
        (
            _configured(lambda c: c["text_cfg"].update(hf_model_name="who/bert")),
            "holds no config.json of its text tower who/bert",
        ),
    ],
)
def test_broken_folders_are_refused_in_one_line(
    folder: Path, tmp_path: Path, spoilt: Callable[[Path], object], message: str
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    spoilt(copy)
    with pytest.raises(UserError, match=message) as caught:
        load_clip(copy)
    assert "\n" not in str(caught.value)


def test_a_bert_without_its_words_is_refused(medical: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(medical, copy)
    (copy / "vocab.txt").unlink()
    with pytest.raises(UserError, match=r"vocab\.txt"):
        loaded(copy)


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"openai-vitb16.*biomedclip.*open_clip:NAME"):
        load_clip("clip-of-nobody")
    with pytest.raises(UserError, match="dinov2-vitb14-reg' is not known"):
        load_clip("dinov2-vitb14-reg")  # no CLIP


def test_words_are_never_cut_nor_passed_over(folder: Path, medical: Path) -> None:
    clip, biomedical = load_clip(folder), loaded(medical)
    for one in (clip, biomedical):
        with pytest.raises(UserError, match="tokens long; this CLIP reads"):
            one.tokenizer(["glioma in the brain " * 30])
        with pytest.raises(UserError, match="text is empty"):
            one.tokenizer(["brain", "  "])
        with pytest.raises(UserError, match="no text is given"):
            one.tokenizer([])
    fits = "brain " * (77 - 2)
    assert clip.tokenizer.length(fits) == 77
    assert clip.tokenizer([fits])[0, -1] == 49407
    assert clip.tokenizer.unknown("a glioma of the brain, Überrest") == ()
    assert clip.tokenizer.unknown("a 𒀀 of 𓃠") == ("𒀀", "𓃠")
    assert biomedical.tokenizer.unknown("glioma of zebra tissue") == ("zebra",)


def test_images_of_other_channels_are_refused(folder: Path) -> None:
    clip = load_clip(folder)
    grey = images(channels=1)
    assert torch.equal(clip.normalised(grey), clip.normalised(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(UserError, match="these have 2"):
        clip.normalised(images(channels=2))
