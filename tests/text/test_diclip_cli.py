"""From two public folders and a word to a mask, on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from beside import beside
from PIL import Image

from diffseg.cli import main

pytestmark = pytest.mark.usefixtures("home")

Captured = pytest.CaptureFixture[str]


tiny = beside(__file__, "tiny_diclip")


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("backbones")
    for kind in tiny.CLIPS:
        tiny.write_clip(kind, folder / kind)
    for kind in tiny.DIFFUSIONS:
        tiny.write_diffusion(kind, folder / kind)
    tiny.write_words(folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> str:
    voxels = np.asarray(tiny.picture().data)[:, 0].transpose(1, 2, 0)
    Image.fromarray(voxels).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def assembled(
    backbones: Path, clip: str = "openai", diffusion: str = "sd1", *more: str
) -> int:
    return main(
        [
            "models", "assemble", "--id", "words",
            "--clip", str(backbones / clip),
            "--diffusion", str(backbones / diffusion),
            "--words", str(backbones / "words.yaml"),
            "--labels", "lesion,hair,object",
            *more,
        ]
    )  # fmt: skip


@pytest.fixture
def words(backbones: Path, home: Path) -> str:
    """A model of that name among the user's."""
    assert assembled(backbones) == 0
    return "words"


@pytest.mark.parametrize("diffusion", tiny.DIFFUSIONS)
@pytest.mark.parametrize("clip", tiny.CLIPS)
def test_the_same_commands_run_with_each_kind_of_backbone(
    backbones: Path, tmp_path: Path, photo: str, capsys: Captured,
    clip: str, diffusion: str,
) -> None:  # fmt: skip
    # Random attention of BiomedCLIP's kind is even: along it every map would be flat.
    options = ["--set", "similarity=surgery", "--set", "refinement=[pixels]"]
    with tiny.readable(clip):
        assert assembled(backbones, clip, diffusion, *options) == 0
        capsys.readouterr()
        asked = ["propose", photo, "--model", "words", "--text", "lesion"]
        assert main([*asked, "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["results"][0]
    assert told["model"]["id"] == "words"
    assert told["text"] == "lesion"
    assert told["structures"][1]["voxels"] == 0
    found = np.asarray(Image.open(tmp_path / "out" / "photo_probability_lesion.png"))
    assert found.max() > 0
    mask = np.asarray(Image.open(tmp_path / "out" / "photo_mask.png"))
    assert mask.shape == (40, 56)
    assert (mask == 1).sum() == told["structures"][0]["voxels"]


def test_texts_are_repeated_or_between_commas(
    words: str, photo: str, tmp_path: Path, capsys: Captured
) -> None:
    masks = []
    for number, texts in enumerate(
        (
            ["--text", "lesion,hair=cell"],
            ["--text", "lesion", "--text", "hair=cell"],
        )
    ):
        out = tmp_path / f"{number}"
        asked = ["propose", photo, "--model", words, "--members", "1", *texts]
        assert main([*asked, "--out", str(out)]) == 0
        masks.append((out / "photo_mask.png").read_bytes())
        report = json.loads((out / "photo_report.json").read_text())
        assert report["text"] == "lesion,hair=cell"
    assert masks[0] == masks[1]


def test_a_volume_of_sixteen_bits_slice_by_slice(
    words: str, tmp_path: Path, capsys: Captured
) -> None:
    voxels = np.asarray(tiny.picture((3, 24, 32), 1).data)[0].astype(np.int16) * 50
    image = nibabel.Nifti1Image(voxels.T, np.diag([1.0, 1.0, 3.0, 1.0]))
    nibabel.save(image, tmp_path / "head.nii.gz")
    asked = ["propose", str(tmp_path / "head.nii.gz"), "--model", words]
    assert main([*asked, "--text", "hair", "--out", str(tmp_path / "out")]) == 0
    mask = nibabel.load(tmp_path / "out" / "head_mask.nii.gz")
    assert mask.shape == (32, 24, 3)
    (warning,) = json.loads((tmp_path / "out" / "head_report.json").read_text())[
        "warnings"
    ]
    assert "is grey" in warning


def test_a_class_that_is_absent_is_an_empty_mask_and_no_error(
    words: str, photo: str, tmp_path: Path, capsys: Captured
) -> None:
    asked = ["propose", photo, "--model", words, "--text", "lesion"]
    labels = "lesion=absent,hair=absent,object=absent"
    done = main([*asked, "--labels", labels, "--out", str(tmp_path / "out")])
    assert done == 0
    assert not np.asarray(Image.open(tmp_path / "out" / "photo_mask.png")).any()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--text", ""], "the text is empty"),
        (["--text", " "], "the text is empty"),
        (["--text", "lesion,,hair"], "has an empty part"),
        (["--text", "lesion", "--text", ""], "has an empty part"),
        (["--text", "lesion=spot,hair=spot"], "are both called 'spot'"),
        (["--text", "nail=spot"], "'nail' is no class of the model"),
        (["--text", "spot,stripe"], "'stripe' means no class of the model"),
        (["--text", "lesion=肿瘤"], "not in this CLIP's vocabulary: '肿瘤'"),
        (["--text", "lesion=" + "spot " * 90], "say it in fewer words"),
        (["--labels", "object"], "class 'object' has no words of its own"),
        (["--text", "lesion", "--steps", "4"], "looks at 3 timesteps: give 1 to 3"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_status_2(
    words: str, photo: str, tmp_path: Path, capsys: Captured,
    more: list[str], told: str,
) -> None:  # fmt: skip
    capsys.readouterr()
    out = tmp_path / "out"
    assert main(["propose", photo, "--model", words, "--out", str(out), *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert told in captured.err
    assert not out.exists()


def test_words_that_no_vocabulary_of_its_own_holds_are_refused(
    backbones: Path, photo: str, tmp_path: Path, capsys: Captured
) -> None:
    assert assembled(backbones, "own_tokenizer") == 0
    capsys.readouterr()
    asked = ["propose", photo, "--model", "words", "--out", str(tmp_path / "out")]
    assert main([*asked, "--text", "lesion=Läsion"]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert "words of class 'lesion' are not in this CLIP's vocabulary" in captured.err


def test_a_model_that_reads_no_words_says_so(
    photo: str, tmp_path: Path, capsys: Captured
) -> None:
    asked = ["propose", photo, "--model", "lesion-dermoscopy", "--text", "lesion"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 2
    assert "does not use text" in capsys.readouterr().err


def test_what_is_missing_is_named_with_its_size_and_source(
    backbones: Path, capsys: Captured
) -> None:
    asked = ["models", "assemble", "--id", "w", "--labels", "lesion", "--clip"]
    assert main([*asked, "openai-vitb16"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for word in ("599 MB", "https://", "diffseg models pull openai-vitb16", "--from"):
        assert word in told
    assert main([*asked, str(backbones / "openai"), "--diffusion", "sd-2.1-base"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    for word in ("GB", "https://", "diffseg models pull sd-2.1-base", "--from"):
        assert word in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--set", "layer=3"], "options: network.layer"),
        (["--set", "layers"], "is not key=value"),
        (["--set", "layers=[1"], "the value is not YAML"),
        (["--variant", "mine"], "give paper or code"),
        (["--prompts", "xray"], "no prompts ship"),
        (["--cache", "/nowhere"], "cannot be read"),
        (["--labels", "lesion,lesion"], "give each once"),
        (["--id", "Two Words"], "'Two Words' is not lower-case"),
    ],
)
def test_what_cannot_be_assembled_is_one_line_and_status_2(
    backbones: Path, tmp_path: Path, capsys: Captured, more: list[str], told: str
) -> None:
    out = tmp_path / "model"
    assert assembled(backbones, "openai", "sd1", "--out", str(out), *more) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert told in captured.err
    assert not out.exists()


def test_a_model_is_shown_listed_and_verified(words: str, capsys: Captured) -> None:
    capsys.readouterr()
    assert main(["models", "show", words]) == 0
    assert "diclip" in capsys.readouterr().out
    assert main(["models", "verify", words]) == 0
    assert main(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])["models"]
    assert "words" in {one["id"] for one in listed}
