"""Several sets become one of pictures with captions, and a command trains on it."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from diffseg.cli import main
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg_training.dataset import load_dataset, read_image, read_reference
from diffseg_training.preparers.small_pair import SETS, SIZE
from diffseg_training.preparers.small_pair import find as find_pictures
from diffseg_training.preparers.writing import check_folder, prepare_folder
from diffseg_training.recipe import load_recipe
from diffseg_training.run import train_model
from diffseg_training.text.picture_sets import class_names, read_sets

SPLITS = ("train", "train", "val", "test")
# None of the sets that ship is of volumes; a words file may name such.
OF_VOLUMES = """
- name: hippocampus
  title: Volumes in words
  licence: CC0
  pictures: [MR image of a temporal lobe]
  around: temporal lobe
  normal: [temporal lobe]
  structures:
    - {name: anterior hippocampus, words: [front], sizes: {large: 1}}
    - {name: posterior hippocampus, words: [back], sizes: {large: 1}}
"""


def pictures(root, one, mode):
    """A set of four pictures, one a patient; the first shows nothing."""
    root.mkdir(parents=True)
    lines = ["case,group,split,image,mask,labels"]
    for index, split in enumerate(SPLITS):
        mask = np.zeros((40, 60), np.uint8)
        if index:
            mask[4:16, 6:24] = 255
        image = np.where(mask, 200, 50).astype(np.uint8)
        if mode == "RGB":
            image = np.stack([image, image, 255 - image], axis=-1)
        Image.fromarray(image).save(root / f"{index}.png")
        Image.fromarray(mask).save(root / f"{index}_mask.png")
        name = one.structures[0].name if index else ""
        lines.append(f"{index},{index},{split},{index}.png,{index}_mask.png,{name}")
    (root / "manifest.csv").write_text("\n".join(lines))


def volumes(root):
    """A set of volumes in RAS: anterior and posterior halves."""
    root.mkdir(parents=True)
    lines = ["case,group,split,image,mask,labels"]
    for index, split in enumerate(SPLITS):
        mask = np.zeros((12, 20, 16), np.uint8)
        mask[2:6, 10:, 9:15] = 1  # left in the array, towards the front, up
        mask[2:6, :10, 9:15] = 2
        image = 300.0 + 100 * (mask > 0)
        for name, values in (("image", image), ("mask", mask)):
            file = root / f"{index}_{name}.nii.gz"
            values = values.astype(np.float32 if name == "image" else np.uint8)
            nibabel.Nifti1Image(values, np.eye(4)).to_filename(file)
        files = f"{index}_image.nii.gz,{index}_mask.nii.gz"
        lines.append(f"{index},{index},{split},{files},anterior;posterior")
    (root / "manifest.csv").write_text("\n".join(lines))
    (root / "classes.json").write_text('{"1": "anterior", "2": "posterior"}')


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    for one in SETS:
        pictures(root / one.name, one, "L" if one.name == "lgg" else "RGB")
    return root


@pytest.fixture(scope="module")
def pair(sets, tmp_path_factory):
    out = tmp_path_factory.mktemp("pair") / "data"
    run(prepare_folder("small-pair", sets, out))
    return out


def test_what_is_there_and_what_is_missing_is_told(sets, tmp_path):
    found, lines = check_folder("small-pair", sets)
    assert not found.missing
    assert all(line.good for line in lines)
    assert len(found.items) == 4 * 3
    assert not any(item.split == "test" for item in found.items)
    (tmp_path / "lgg").mkdir()
    found, _ = check_folder("small-pair", tmp_path)
    assert len(found.missing) == 4
    with pytest.raises(UserError, match=r"no manifest\.csv in a folder called 'lgg'"):
        run(prepare_folder("small-pair", tmp_path, tmp_path / "out"))


def test_masks_tell_the_set_and_pictures_are_alike(pair):
    dataset = load_dataset(pair)
    names = class_names(SETS)
    assert dataset.labels.names == names
    shown = {}
    for case in dataset.cases:
        image = read_image(case)
        assert image.shape == (1, SIZE, SIZE)
        assert load_recipe("small-clip").preparation.takes(image.channels)
        mask = read_reference(case, image, dataset.labels)
        assert mask.min() > 0  # surroundings are a class, too
        shown[case.case] = [names[value - 1] for value in np.unique(mask)]
        assert case.group == f"{case.case.split('_')[0]}_{case.case.split('_')[1]}"
    assert shown["lgg_0"] == ["brain"]
    assert shown["lgg_1"] == ["brain", "tumour"]
    assert shown["nuclei_2"] == ["tissue", "nucleus"]


def test_colours_stay(pair):
    shown = np.asarray(Image.open(pair / "images" / "ph2_1.png"))
    inside = np.asarray(Image.open(pair / "masks" / "ph2_1.png")) == (
        1 + class_names(SETS).index("lesion")
    )
    assert np.median(shown[inside], axis=0).tolist() == [200, 200, 55]
    grey = np.asarray(Image.open(pair / "images" / "lgg_1.png"))
    assert grey.shape == (SIZE, SIZE, 3)
    assert (grey == grey[..., :1]).all()


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    """Images and masks of slices of volumes, by name, after a set of pictures."""
    root = tmp_path_factory.mktemp("volumes")
    volumes(root / "hippocampus")
    words = root / "words.yaml"
    words.write_text(OF_VOLUMES)
    pictures(root / "lgg", SETS[0], "L")
    found = find_pictures(root, (SETS[0], *read_sets(str(words))))
    assert not found.missing
    made = {}
    for item in found.items:
        for file in (item.images[0], item.mask):
            (root / file.name).parent.mkdir(exist_ok=True)
            file.write(root / file.name)
        files = (item.images[0].name, item.mask.name)
        made[item.case] = [np.asarray(Image.open(root / name)) for name in files]
    return made


def test_of_volumes_a_few_coronal_slices_are_taken(slices):
    # Of the pictures three, of three volumes four slices each; none of test.
    assert len(slices) == 3 + 3 * 4
    brain, tumour, lobe, anterior, posterior = range(1, 6)
    shown = {name: np.unique(mask).tolist() for name, (_, mask) in slices.items()}
    assert shown["lgg_1"] == [brain, tumour]
    # From back to front: first the posterior part, then the anterior.
    assert shown["hippocampus_0_0"] == [lobe, posterior]
    assert shown["hippocampus_0_3"] == [lobe, anterior]


def test_a_slice_is_upright_and_fills_the_range(slices):
    image, mask = slices["hippocampus_0_0"]
    inside = mask == mask.max()
    assert image.shape == (SIZE, SIZE, 3)
    assert image.min() < 5
    assert image.max() > 250
    assert image[inside].mean() > 200
    rows, columns = np.nonzero(inside)
    assert rows.mean() < SIZE / 2  # up is up
    assert columns.mean() > SIZE / 2  # the patient's left is on the right


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "more", "files"),
    [
        (
            "small-clip",
            ["network.layers=1", "network.text_layers=1"],
            {"open_clip_config.json", "open_clip_model.safetensors", "vocab.txt"},
        ),
        (
            "small-text-diffusion",
            ["network.channels=[16, 16, 16, 16]", "network.text_layers=1"],
            {"model_index.json", "unet", "vae", "text_encoder", "tokenizer"},
        ),
    ],
)
def test_the_command_trains_and_writes_a_folder(
    name, more, files, pair, tmp_path, capsys
):
    steps = ["length.steps=2", "length.validations=1", "optimiser.batch=2"]
    given = [part for setting in (*steps, *more) for part in ("--set", setting)]
    asked = ["train", name, "--data", str(pair), "--out", str(tmp_path / "run"), *given]
    assert main([*asked, "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    folder = tmp_path / "run" / "folder"
    assert "folder: 2 steps in" in "".join(told.splitlines())
    assert files | {"README.md"} <= {file.name for file in folder.iterdir()}
    if name == "small-clip":
        assert "matched" in told
        content = json.loads((folder / "open_clip_config.json").read_text())
        assert content["model_cfg"]["vision_cfg"]["layers"] == 1


def test_one_set_alone_is_refused_before_anything_is_made(sets, tmp_path):
    with pytest.raises(UserError, match="recipes prepare small-pair"):
        run(train_model("small-clip", str(sets / "lgg"), tmp_path / "run"))
    assert not (tmp_path / "run").exists()
