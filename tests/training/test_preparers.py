"""Published data sets: folders as they are downloaded become data sets."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from diffseg.errors import UserError
from diffseg.progress import run
from diffseg_training.dataset import load_dataset, read_image, read_reference
from diffseg_training.preparers import Item, preparer, preparer_names
from diffseg_training.preparers.splitting import by_counts, kept_apart, with_val
from diffseg_training.preparers.writing import check_folder, prepare_folder
from diffseg_training.recipe import load_recipe, recipe_names


def picture(path: Path, values: np.ndarray | int = 90, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(values, int):
        values = np.full((12, 16), values, np.uint8)
    Image.fromarray(values).convert(mode).save(path)


def box(value: int = 255, around: int = 0) -> np.ndarray:
    """A mask of 12 x 16 with a box of 4 x 6 pixels."""
    mask = np.full((12, 16), around, np.uint8)
    mask[4:8, 5:11] = value
    return mask


def volume(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])).to_filename(path)


def isic16(root: Path) -> None:
    for word, count in (("Training", 5), ("Test", 2)):
        for i in range(count):
            name = f"ISIC_{i + len(word):07d}"
            images = root / f"ISBI2016_ISIC_Part1_{word}_Data"
            picture(images / f"{name}.jpg")
            masks = root / f"ISBI2016_ISIC_Part1_{word}_GroundTruth"
            picture(masks / f"{name}_Segmentation.png", box(), "L")


def isic18(root: Path) -> None:
    for i in range(10):
        name = f"ISIC_{i:07d}"
        picture(root / "ISIC2018_Task1-2_Training_Input" / f"{name}.jpg")
        masks = root / "ISIC2018_Task1_Training_GroundTruth"
        picture(masks / f"{name}_segmentation.png", box(), "L")


def monuseg(root: Path) -> None:
    corners = [(5, 4), (10, 4), (10, 7), (5, 7)]
    vertices = "".join(f'<Vertex X="{x}.0" Y="{y}.0" Z="0"/>' for x, y in corners)
    region = f"<Region><Vertices>{vertices}</Vertices></Region>"
    xml = f"<Annotations><Annotation><Regions>{region}</Regions></Annotation>"
    for folder, count in (("MoNuSeg 2018 Training Data", 4), ("MoNuSegTestData", 2)):
        for i in range(count):
            site = "T" if "Test" in folder else "A"
            name = f"TCGA-{site}-A{i // 2}-01Z-00-DX{i}"
            picture(root / folder / f"{name}.tif")
            (root / folder / f"{name}.xml").write_text(f"{xml}</Annotations>")


def glas(root: Path) -> None:
    rows = ["name, patient ID, grade (GlaS)"]
    for name, patient in (
        ("train_1", 1), ("train_2", 1), ("train_3", 2), ("train_4", 3),
        ("testA_1", 1), ("testB_1", 9),
    ):  # fmt: skip
        picture(root / f"{name}.bmp")
        picture(root / f"{name}_anno.bmp", box(3), "L")  # the third gland
        rows.append(f"{name}, {patient}, benign")
    (root / "Grade.csv").write_text("\n".join(rows))


def refuge2_cup(root: Path) -> None:
    mask = np.full((12, 16), 255, np.uint8)
    mask[4:8, 6:10] = 128
    mask[5:7, 7:9] = 0
    for word, count in (("train", 2), ("val", 2), ("test", 1)):
        for i in range(count):
            picture(root / word / "images" / f"a{i}.jpg", 90)
            picture(root / word / "mask" / f"a{i}.bmp", mask, "L")


def cvc_clinicdb(root: Path) -> None:
    for i in range(1, 13):
        picture(root / "Original" / f"{i}.tif")
        picture(root / "Ground Truth" / f"{i}.tif", box(), "RGB")


def qata(root: Path) -> None:
    for word, subjects in (("Train", "AABC"), ("Test", "AD")):
        for i, subject in enumerate(subjects):
            name = f"sub-{subject}_ses-{i}_run-1"
            picture(root / f"{word} Set" / "Images" / f"{name}.png", 90, "L")
            masks = root / f"{word} Set" / "Ground-truths"
            picture(masks / f"mask_{name}.png", box(), "RGB")


def brats21(root: Path) -> None:
    seg = np.zeros((4, 5, 6), np.uint8)
    seg[1, 2, 3], seg[2, 2, 3], seg[3, 2, 3] = 1, 2, 4
    for i in range(10):
        case = f"BraTS2021_{i:05d}"
        for k, kind in enumerate(("flair", "t1", "t1ce", "t2")):
            image = np.full((4, 5, 6), k, np.int16)
            volume(root / case / f"{case}_{kind}.nii.gz", image)
        volume(root / case / f"{case}_seg.nii.gz", seg)


def flare21(root: Path) -> None:
    mask = np.zeros((4, 5, 6), np.uint8)
    mask[1], mask[2] = 1, 4
    for i in range(8):
        name = f"train_{i:03d}"
        image = np.zeros((4, 5, 6), np.int16)
        volume(root / "TrainingImg" / f"{name}_0000.nii.gz", image)
        volume(root / "TrainingMask" / f"{name}.nii.gz", mask)


def voc12(root: Path) -> None:
    """A train (19) with its void border, in palettes as they are published."""
    home = root / "VOCdevkit" / "VOC2012"
    for word, count in (("train", 5), ("val", 2)):
        names = [f"2007_{len(word)}0{i}" for i in range(count)]
        for name in names:
            picture(home / "JPEGImages" / f"{name}.jpg")
            mask = box(19)
            mask[0] = 255
            place = home / "SegmentationClass" / f"{name}.png"
            place.parent.mkdir(exist_ok=True)
            made = Image.fromarray(mask).convert("P")
            made.putdata(mask.ravel().tolist())
            made.save(place)
        lists = home / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{word}.txt").write_text("\n".join(names) + "\n")


def coco14(root: Path) -> None:
    """A dog (18) of which a person (1) holds a part, and a crowd's runs."""
    (root / "annotations").mkdir(parents=True)
    for part, count in (("train2014", 4), ("val2014", 2)):
        images, things = [], []
        for i in range(count):
            name = f"COCO_{part}_{i:012d}.jpg"
            picture(root / part / name)
            images.append({"id": i, "file_name": name, "height": 12, "width": 16})
            dog = {"segmentation": [[5, 4, 10, 4, 10, 7, 5, 7]], "area": 24.0}
            hand = {"segmentation": [[5, 4, 6, 4, 6, 5, 5, 5]], "area": 4.0}
            # Column by column: all of the first column but its first pixel.
            crowd = {"segmentation": {"counts": [1, 11, 180]}, "area": 11.0}
            for number, thing in ((1, hand), (18, dog), (1, crowd)):
                things.append({"image_id": i, "category_id": number, **thing})
        table = {"images": images, "annotations": things}
        path = root / "annotations" / f"instances_{part}.json"
        path.write_text(json.dumps(table))


# Layout; cases of train, val and test; voxels of each class in the first case's mask.
LAYOUTS = {
    "isic16": (isic16, (4, 1, 2), {1: 24}),
    "isic18": (isic18, (6, 1, 3), {1: 24}),
    "monuseg": (monuseg, (2, 2, 2), {1: 24}),
    "glas": (glas, (3, 1, 2), {1: 24}),
    "refuge2-cup": (refuge2_cup, (3, 1, 1), {1: 4}),
    "cvc-clinicdb": (cvc_clinicdb, (10, 1, 1), {1: 24}),
    "qata": (qata, (3, 1, 2), {1: 24}),
    "brats21": (brats21, (8, 1, 1), {1: 3}),
    "flare21": (flare21, (5, 1, 2), {1: 30, 4: 30}),
    "voc12": (voc12, (4, 1, 2), {19: 24}),
    "coco14": (coco14, (3, 1, 2), {1: 15, 18: 20}),
}


# Not for segmentation, and tested with captions.
PAIR = {"small-pair"}


def test_every_preparer_has_a_recipe_and_a_test():
    assert set(preparer_names()) == set(LAYOUTS) | PAIR
    sets = {name.removesuffix("-unet") for name in recipe_names()}
    assert set(preparer_names()) - PAIR <= sets


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_whole_folder_becomes_a_dataset(name, tmp_path):
    layout, splits, voxels = LAYOUTS[name]
    layout(tmp_path / "down")
    found, lines = check_folder(name, tmp_path / "down")
    assert not found.missing
    assert all(line.good for line in lines)
    manifest = run(prepare_folder(name, tmp_path / "down", tmp_path / "out"))

    dataset = load_dataset(manifest)  # no patient stands in two splits, files are there
    counts = Counter(case.split for case in dataset.cases)
    assert (counts["train"], counts["val"], counts["test"]) == splits
    assert dict(zip(dataset.labels.values, dataset.labels.names, strict=True)) == (
        preparer(name).ABOUT.classes
    )
    case = dataset.cases[0]
    image = read_image(case)
    mask = read_reference(case, image, dataset.labels)
    values, numbers = np.unique(mask[mask > 0], return_counts=True)
    assert dict(zip(values.tolist(), numbers.tolist(), strict=True)) == voxels
    recipe = load_recipe(f"{name}-unet")
    assert recipe.dataset.name == name
    assert recipe.preparation.takes(image.channels)
    assert recipe.network["mask_channels"] == len(dataset.labels)


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_missing_is_told_line_by_line(name, tmp_path):
    (tmp_path / "down").mkdir()
    found, _ = check_folder(name, tmp_path / "down")
    assert found.missing
    with pytest.raises(UserError, match="is not whole") as caught:
        run(prepare_folder(name, tmp_path / "down", tmp_path / "out"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["{", "{}", "[]"])
def test_outlines_that_are_none_are_told_in_a_line(content, tmp_path):
    coco14(tmp_path)
    path = tmp_path / "annotations" / "instances_val2014.json"
    path.write_text(content)
    with pytest.raises(UserError, match="cannot be read as COCO's instances") as told:
        check_folder("coco14", tmp_path)
    assert "\n" not in str(told.value)


def test_a_missing_mask_is_named(tmp_path):
    isic16(tmp_path)
    gone = next(tmp_path.rglob("*_Segmentation.png"))
    gone.unlink()
    found, _ = check_folder("isic16", tmp_path)
    assert any(gone.name in line for line in found.missing)


def test_images_are_not_copied(tmp_path):
    isic16(tmp_path / "down")
    run(prepare_folder("isic16", tmp_path / "down", tmp_path / "a" / "out"))
    written = sorted(p.name for p in (tmp_path / "a" / "out").rglob("*"))
    assert written == ["classes.json", "manifest.csv"]
    with (tmp_path / "a" / "out" / "manifest.csv").open() as file:
        row = next(csv.DictReader(file))
    assert row["image"].startswith("../../down/")
    assert row["labels"] == "lesion"
    with pytest.raises(UserError, match="is there already"):
        run(prepare_folder("isic16", tmp_path / "down", tmp_path / "a" / "out"))


def test_an_image_without_its_structure_is_labelled_so(tmp_path):
    isic16(tmp_path / "down")
    empty = sorted(tmp_path.rglob("*_Segmentation.png"))[0]
    picture(empty, 0, "L")
    manifest = run(prepare_folder("isic16", tmp_path / "down", tmp_path / "out"))
    with manifest.open() as file:
        labels = Counter(row["labels"] for row in csv.DictReader(file))
    assert labels == {"lesion": 6, "": 1}


def test_refuge_is_cropped_around_the_disc(tmp_path):
    refuge2_cup(tmp_path / "down")
    manifest = run(prepare_folder("refuge2-cup", tmp_path / "down", tmp_path / "out"))
    assert read_image(load_dataset(manifest).cases[0]).shape == (1, 8, 8)


def test_patients_in_two_published_splits_are_told(tmp_path):
    qata(tmp_path)
    found, lines = check_folder("qata", tmp_path)
    assert "1 of 4 patients stand in both train and test" in lines[-1].text
    groups = {item.group for item in found.items}
    assert {"sub-A-train", "sub-A-test", "sub-B", "sub-C", "sub-D"} == groups


# Splits


def items(groups: str, split: str = "train") -> list[Item]:
    return [
        Item(f"{group}{i}", group, split, (Path("a"),), Path("b"))
        for i, group in enumerate(groups)
    ]


def test_val_is_whole_patients_of_train_alone_and_by_the_seed():
    given = [*items("aabbccddee"), *items("zz", "test")]
    chosen = with_val(given, 0.4)
    split_of = {item.group: item.split for item in chosen}
    assert Counter(item.split for item in chosen) == {"train": 6, "val": 4, "test": 2}
    assert all(item.split == split_of[item.group] for item in chosen)
    assert split_of["z"] == "test"
    assert with_val(given, 0.4) == chosen
    assert any(with_val(given, 0.4, seed) != chosen for seed in (1, 2, 3))


def test_a_published_val_is_kept():
    given = [*items("abc"), *items("v", "val")]
    assert with_val(given, 0.5) == given


def test_dealing_out_is_by_group_and_in_proportion():
    dealt = by_counts(items("aabbccddeeff"), (("train", 2), ("test", 1)))
    assert Counter(item.split for item in dealt) == {"train": 8, "test": 4}
    assert kept_apart(dealt) == (dealt, [])


# The command


def test_the_command_checks_then_prepares(tmp_path):
    from diffseg_training.cli.recipes import recipes

    isic16(tmp_path / "down")
    check = ["prepare", "isic16", str(tmp_path / "down"), "--json"]
    result = CliRunner().invoke(recipes, check)
    told = json.loads(result.stdout)
    assert told["whole"]
    assert told["manifest"] is None
    assert [line["text"] for line in told["lines"]] == [
        "train: 4 images, 900 as published",
        "val: 1 images",
        "test: 2 images, 379 as published",
    ]
    result = CliRunner().invoke(recipes, [*check, "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "manifest.csv").is_file()
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("name", "folder", "message"),
    [
        ("isic", ".", "there is no preparer for 'isic'; did you mean 'isic1"),
        ("isic16", "nowhere", "published at https://challenge.isic-archive.com"),
    ],
)
def test_a_wrong_name_or_folder_is_told(name, folder, message, tmp_path):
    with pytest.raises(UserError, match=message):
        check_folder(name, tmp_path / folder)
