"""Datasets: what a manifest or an nnU-Net folder becomes, and what is refused."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.io import imsave

from diffseg.domain import Presence
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg_training.dataset import load_dataset, read_image, read_reference
from diffseg_training.manifest import read_manifest

HEAD = "case,group,split,image,mask,labels"


def save_nifti(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)


def save_png(path: Path, values: np.ndarray) -> None:
    imsave(path, values.astype(np.uint8), check_contrast=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two scans (one of two channels) with masks of two classes."""
    mask = np.zeros((4, 3, 2), np.uint8)
    mask[0], mask[1] = 1, 2
    for name in ("a", "b_0", "b_1"):
        save_nifti(tmp_path / f"{name}.nii.gz", np.arange(24.0).reshape(4, 3, 2))
    for name in ("a_mask", "b_mask"):
        save_nifti(tmp_path / f"{name}.nii.gz", mask)
    (tmp_path / "classes.json").write_text('{"2": "tail", "1": "head"}')
    write(
        tmp_path,
        "a,p1,train,a.nii.gz,a_mask.nii.gz,head",
        "b,p2,val,b_0.nii.gz;b_1.nii.gz,b_mask.nii.gz,?",
    )
    return tmp_path


def write(folder: Path, *lines: str, head: str = HEAD) -> Path:
    path = folder / "manifest.csv"
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def test_a_manifest_becomes_cases(folder: Path) -> None:
    dataset = load_dataset(folder)
    assert dataset.labels.names == ("head", "tail")
    assert dataset.labels.values == (1, 2)
    first, second = dataset.cases
    assert (first.case, first.group, first.split) == ("a", "p1", "train")
    assert first.images == (folder / "a.nii.gz",)
    assert first.mask == folder / "a_mask.nii.gz"
    assert second.images == (folder / "b_0.nii.gz", folder / "b_1.nii.gz")
    assert load_dataset(folder / "manifest.csv").cases == dataset.cases


def test_labels_present_absent_and_unknown(folder: Path) -> None:
    write(
        folder,
        "a,p1,train,a.nii.gz,a_mask.nii.gz,head",
        "b,p2,val,b_0.nii.gz,b_mask.nii.gz,?",
        "c,p3,val,b_0.nii.gz,,",
    )
    one, unknown, none = (case.labels for case in load_dataset(folder).cases)
    assert (one["head"], one["tail"]) == (Presence.PRESENT, Presence.ABSENT)
    assert not unknown
    assert unknown["head"] is Presence.UNKNOWN
    assert (none["head"], none["tail"]) == (Presence.ABSENT, Presence.ABSENT)


def test_images_and_masks_are_read_on_one_grid(folder: Path) -> None:
    dataset = load_dataset(folder)
    volume = read_image(dataset.cases[1])
    assert volume.data.shape == (2, 2, 3, 4)
    mask = read_reference(dataset.cases[1], volume, dataset.labels)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask[:, :, 0], np.ones((2, 3)))
    assert np.array_equal(mask[:, :, 1], np.full((2, 3), 2))


def test_a_mask_value_that_no_class_has_is_refused(folder: Path) -> None:
    (folder / "classes.json").write_text('{"1": "head"}')
    dataset = load_dataset(folder)
    case = dataset.cases[0]
    with pytest.raises(UserError, match="a_mask"):
        read_reference(case, read_image(case), dataset.labels)


def test_splits(folder: Path) -> None:
    dataset = load_dataset(folder)
    assert [case.case for case in dataset.split("train")] == ["a"]
    assert [case.case for case in dataset.split("all")] == ["a", "b"]
    with pytest.raises(UserError, match=r"'test'.*holds no case; give train or val"):
        dataset.split("test")
    with pytest.raises(UserError, match="'training' is not one of train, val, test"):
        dataset.split("training")


@pytest.mark.parametrize(("only", "wanted"), [("val", "train"), ("train", "val")])
def test_a_training_wants_cases_to_learn_from_and_to_choose_on(
    only: str, wanted: str, folder: Path
) -> None:
    from diffseg_training.run import train_model  # which takes seconds to import

    train, val = load_dataset(folder).for_training()
    assert ([case.case for case in train], [case.case for case in val]) == (
        ["a"],
        ["b"],
    )
    write(folder, f"a,p1,{only},a.nii.gz,a_mask.nii.gz,head")
    said = rf"no case to .* whose column split says {wanted} for some patients"
    with pytest.raises(UserError, match=said):
        run(train_model("hippocampus-mri", str(folder), folder / "out"))
    assert not (folder / "out").exists()


def test_a_second_rater(folder: Path) -> None:
    line = "a,p1,train,a.nii.gz,a_mask.nii.gz,head,b_mask.nii.gz"
    write(folder, line, "b,p2,val,b_0.nii.gz,,,", head=f"{HEAD},mask_2")
    first, second = load_dataset(folder).cases
    assert first.mask_2 == folder / "b_mask.nii.gz"
    assert second.mask is None
    assert second.mask_2 is None


GOOD = "a,p1,train,a.nii.gz,a_mask.nii.gz,head"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "lists no case"),
        ([GOOD, GOOD.replace("p1", "p2")], "line 3: case 'a' is listed twice"),
        (
            [GOOD, "b,p1,val,b_0.nii.gz,,"],
            "group 'p1' stands in two splits, train and val",
        ),
        ([GOOD.replace("train", "dev")], "split 'dev' is not one of train, val, test"),
        ([GOOD.replace("a.nii", "z.nii")], "line 2: image .*z.nii.gz does not exist"),
        ([GOOD.replace("a_mask", "z_mask")], "mask .*z_mask.nii.gz does not exist"),
        ([GOOD.replace("head", "nose")], "label nose is not one of the classes head"),
        ([GOOD.replace("a.nii.gz", "")], "line 2 has no image"),
        ([GOOD.replace("p1", "")], "line 2 has no group"),
        ([GOOD.replace("a,p1", ",p1")], "line 2 has no case"),
        ([GOOD + ",more"], "line 2 has another number of cells"),
        (["a,p1,train"], "line 2 has another number of cells"),
    ],
)
def test_every_mistake_is_told_in_one_line(
    folder: Path, lines: list[str], message: str
) -> None:
    write(folder, *lines)
    with pytest.raises(UserError, match=message) as caught:
        load_dataset(folder)
    assert "\n" not in str(caught.value)


def test_a_group_may_stand_in_one_split_and_in_none(folder: Path) -> None:
    write(folder, GOOD, "b,p1,,b_0.nii.gz,,")
    assert [case.split for case in load_dataset(folder).cases] == ["train", ""]


def test_a_missing_column_is_named(folder: Path) -> None:
    write(folder, "a,p1,a.nii.gz,", head="case,group,image,mask")
    with pytest.raises(UserError, match="lacks the column split, labels"):
        load_dataset(folder)


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no dataset; it needs"):
        load_dataset(tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        load_dataset(tmp_path / "gone")
    (tmp_path / "scan.nii.gz").write_bytes(b"\x1f\x8b\xff\xfe\x00")
    with pytest.raises(UserError, match="is not a manifest in CSV"):
        load_dataset(tmp_path / "scan.nii.gz")


@pytest.mark.parametrize(
    "content", ['["head"]', '{"one": "head"}', "{", '{"0": "x"}', '{"1":"a","2":"a"}']
)
def test_a_classes_file_that_is_none(folder: Path, content: str) -> None:
    (folder / "classes.json").write_text(content)
    with pytest.raises(UserError, match=r"classes\.json"):
        load_dataset(folder)


def test_without_classes_a_single_class_takes_the_one_name(tmp_path: Path) -> None:
    picture = np.zeros((5, 6))
    mask = picture.copy()
    mask[1:3] = 255
    for name, values in (("i", picture), ("m0", picture), ("m", mask)):
        save_png(tmp_path / f"{name}.png", values)
    write(tmp_path, "x,x,,i.png,m0.png,", "y,y,,i.png,m.png,tumour")
    dataset = load_dataset(tmp_path)
    assert (dataset.labels.names, dataset.labels.values) == (("tumour",), (1,))
    case = dataset.cases[1]
    found = read_reference(case, read_image(case), dataset.labels)
    assert found.shape == (1, 5, 6)
    assert set(np.unique(found)) == {0, 1}
    assert found.sum() == 12


def test_without_classes_and_names_the_class_is_class_1(tmp_path: Path) -> None:
    save_png(tmp_path / "i.png", np.zeros((4, 4)))
    write(tmp_path, "x,x,,i.png,i.png,")
    assert load_dataset(tmp_path).labels.names == ("class_1",)


def test_without_classes_several_are_numbered(folder: Path) -> None:
    (folder / "classes.json").unlink()
    dataset = load_dataset(folder)
    assert dataset.labels.names == ("class_1", "class_2")
    # Nobody says which of the two "head" is: it is dropped, and said so.
    assert not dataset.cases[0].labels
    assert len(dataset.warnings) == 1
    assert "classes.json" in dataset.warnings[0]


def test_several_names_without_masks_need_a_classes_file(folder: Path) -> None:
    (folder / "classes.json").unlink()
    write(folder, "a,p1,train,a.nii.gz,,head;tail")
    with pytest.raises(UserError, match=r"a classes\.json beside it must give"):
        load_dataset(folder)


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    mask = np.ones((3, 3, 3), np.uint8)
    for name in ("imagesTr/x_y", "imagesTr/z", "imagesTs/t"):
        for channel in range(2):
            values = np.full((3, 3, 3), float(channel))
            save_nifti(tmp_path / f"{name}_{channel:04d}.nii.gz", values)
    for name in ("x_y", "z"):
        save_nifti(tmp_path / f"labelsTr/{name}.nii.gz", mask)
    describe(tmp_path, labels={"background": 0, "head": 1, "tail": 2})
    return tmp_path


def describe(folder: Path, **content: object) -> None:
    channels = {"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(channels | content))


def test_an_nnunet_folder(nnunet: Path) -> None:
    dataset = load_dataset(nnunet)
    assert dataset.labels.names == ("head", "tail")
    assert [case.case for case in dataset.split("train")] == ["x_y", "z"]
    case = dataset.cases[0]
    assert [path.name for path in case.images] == [
        "x_y_0000.nii.gz",
        "x_y_0001.nii.gz",
    ]
    assert case.mask == nnunet / "labelsTr" / "x_y.nii.gz"
    assert not case.labels
    volume = read_image(case)
    assert volume.data[:, 0, 0, 0].tolist() == [0, 1]
    assert read_reference(case, volume, dataset.labels).all()
    (test,) = dataset.split("test")
    assert test.mask is None


def test_an_older_nnunet_file_names_labels_the_other_way(nnunet: Path) -> None:
    describe(nnunet, labels={"0": "background", "1": "head", "2": "tail"})
    assert load_dataset(nnunet).labels.names == ("head", "tail")


def test_an_nnunet_folder_with_gaps(nnunet: Path) -> None:
    (nnunet / "imagesTr" / "z_0001.nii.gz").unlink()
    with pytest.raises(UserError, match=r"'z' lacks imagesTr/z_0001\.nii\.gz"):
        load_dataset(nnunet)


def test_an_nnunet_folder_without_a_mask(nnunet: Path) -> None:
    (nnunet / "labelsTr" / "z.nii.gz").unlink()
    with pytest.raises(UserError, match=r"labelsTr/z\.nii\.gz does not exist"):
        load_dataset(nnunet)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"whole": [1, 2]}, "'whole' is a region of several values"),
        ({"head": "first"}, "has the value 'first'"),
        ({"head": 1, "tail": 1}, "two labels have the value 1"),
        (None, "is not the dataset.json"),
    ],
)
def test_nnunet_labels_that_cannot_be_used(
    nnunet: Path, labels: object, message: str
) -> None:
    describe(nnunet, labels=labels)
    with pytest.raises(UserError, match=message):
        load_dataset(nnunet)


NAMES = st.text("abc xyz_-,\"'äß", min_size=1, max_size=8).map(str.strip).filter(bool)


@settings(max_examples=20, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=5, unique=True))
def test_any_name_survives_the_manifest(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("names") / "manifest.csv"
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    text = "".join(f"{name},{name},,i.png,,\n" for name in quoted)
    path.write_text(f"{HEAD}\n{text}", encoding="utf-8-sig")
    assert [row.case for row in read_manifest(path)] == names


def test_the_shared_hippocampus_set(data_dir: Path) -> None:
    dataset = load_dataset(data_dir / "hippocampus")
    assert dataset.labels.names == ("anterior", "posterior")
    assert len(dataset.split("val")) == 37
    case = dataset.split("val")[0]
    volume = read_image(case)
    mask = read_reference(case, volume, dataset.labels)
    assert mask.shape == volume.shape
    assert set(np.unique(mask)) == {0, 1, 2}
