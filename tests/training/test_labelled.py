"""Examples with image-level labels: which are shown, and that no mask is read."""

import json

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from diffseg.domain import Preparation
from diffseg.domain.slice_labels import SliceLabels
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg_training.dataset import load_dataset
from diffseg_training.labelled import LabelledExample, label_set, prepare_labelled
from diffseg_training.recipe import load_recipe
from diffseg_training.recipe_labels import Labelling
from diffseg_training.run import train_model
from diffseg_training.slice_draws import SliceDraws

PLAIN = {"dims": 2, "intensity": {"kind": "range", "low": 0, "high": 255}}
SIDE = 40


def slices(folder, states, split=lambda number: "val" if number % 3 == 0 else "train"):
    """Grey slices, brighter in a corner where the spot is present; masks are no images.

    ``states`` has + for present, - for absent, ? for unknown.
    """
    random, lines = np.random.default_rng(0), ["case,group,split,image,mask,labels"]
    for number, state in enumerate(states):
        image = random.uniform(40, 90, (SIDE, SIDE))
        if state == "+":
            image[5:17, 8:20] += 120
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{number}.png")
        # A mask of a training slice is not read: what it holds is not even an image.
        (folder / f"{number}_mask.png").write_bytes(b"no picture")
        said = {"+": "spot", "-": "", "?": "?"}[state]
        where = split(number)
        lines.append(
            f"c{number},p{number},{where},{number}.png,{number}_mask.png,{said}"
        )
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def prepared(folder, **labelling):
    dataset = load_dataset(folder, masks=False)
    found = prepare_labelled(
        dataset.cases, dataset, Preparation(**PLAIN), Labelling(**labelling)
    )
    return run(found)


def small(*more, name="classification", network="slice_classifier"):
    return [
        f"network={{name: {network}, channels: 1, classes: 1}}",
        f"objective.name={name}",
        f"patch=[{SIDE}, {SIDE}]",
        f"preparation.size=[{SIDE}, {SIDE}]",
        "length.steps=2",
        "length.validations=1",
        "optimiser.batch=4",
        "trackers=[]",
        "loading.workers=0",
        *more,
    ]


def test_labels_of_the_manifest_and_no_mask(tmp_path):
    examples = prepared(slices(tmp_path, "+-?+"))
    assert [int(one.states[0, 0]) for one in examples] == [1, 2, 0, 1]
    labels = label_set(examples, "here")
    assert labels.warnings == (
        "1 of 4 cases are not learnt from, as nothing is known of any slice: c2",
    )
    assert "from the manifest's labels: spot present in 2 slices" in labels.told()
    # With masks the same data set cannot be read: they are no pictures.
    with pytest.raises(UserError):
        load_dataset(tmp_path)


def test_a_table_of_ranges_takes_the_manifests_place(tmp_path):
    folder = slices(tmp_path, "+-")
    path = tmp_path / "said.csv"
    path.write_text("case,label,slices\nc1,spot,0:1\n")
    examples = prepared(folder, source="ranges", ranges=path)
    assert [int(one.states[0, 0]) for one in examples] == [0, 1]
    path.write_text("case,label,slices\nc9,spot,0:1\n")
    with pytest.raises(UserError, match="there is no case 'c9'"):
        prepared(folder, source="ranges", ranges=path)
    with pytest.raises(ValueError, match="give ranges, a file, with source ranges"):
        Labelling(source="ranges")


def volume_set(folder):
    """One volume of 5 slices, with a mask in two of them."""
    data = np.zeros((5, SIDE, SIDE), np.float32)
    data += np.arange(5, dtype=np.float32)[:, None, None]
    mask = np.zeros(data.shape, np.uint8)
    mask[1:3, 4:9, 4:9] = 1
    for name, array in (("a", data), ("a_mask", mask)):
        image = nibabel.Nifti1Image(array.transpose(), np.eye(4))
        nibabel.save(image, folder / f"{name}.nii.gz")
    (folder / "classes.json").write_text(json.dumps({"1": "spot"}))
    row = "a,p,train,a.nii.gz,a_mask.nii.gz,spot"
    (folder / "manifest.csv").write_text(f"case,group,split,image,mask,labels\n{row}\n")
    return load_dataset(folder)


def test_a_mask_is_reduced_to_labels_where_that_is_asked_for(tmp_path):
    dataset = volume_set(tmp_path)
    how = Preparation(dims=2, intensity={"kind": "range", "low": 0, "high": 4})
    work = prepare_labelled(dataset.cases, dataset, how, Labelling(source="mask"))
    (one,) = run(work)
    assert one.labels.origin == "mask"
    assert one.states[:, 0].tolist() == [2, 1, 1, 2, 2]


def test_labels_go_with_their_slices_when_a_volume_is_turned(tmp_path):
    dataset = volume_set(tmp_path)
    how = {"dims": 2, "intensity": {"kind": "range", "low": 0, "high": 4}}

    def turned(orientation):
        work = prepare_labelled(
            dataset.cases,
            dataset,
            Preparation(**how, orientation=orientation),
            Labelling(source="mask"),
        )
        return run(work)[0]

    back = turned("RAI")
    assert back.states[:, 0].tolist() == [2, 2, 1, 1, 2]
    assert back.image[0, :, 0, 0].tolist() == [1, 0.75, 0.5, 0.25, 0]
    with pytest.raises(UserError, match="slices cut across those of the file"):
        turned("SAR")


def example(states, seed=0, channels=1):
    codes = np.array([["?+-".index(one)] for one in states], np.uint8)
    image = torch.arange(len(states), dtype=torch.float32)[None, :, None, None]
    return LabelledExample(
        f"e{seed}",
        f"g{seed}",
        image.expand(channels, -1, SIDE, SIDE).contiguous(),
        SliceLabels(("spot",), codes),
    )


def flat(*more):
    return load_recipe(
        "lgg-classifier",
        small(
            "augmentation={rotate_deg: 0, scale: 0, shift: 0, elastic: 0, gamma: 0, "
            "contrast: 0, noise: 0, blur: 0, flip_axes: []}",
            *more,
        ),
    )


def test_every_slice_of_which_something_is_known_is_shown_once_an_epoch():
    draws = SliceDraws(flat("patches.balanced=0"), [example("+?-"), example("-+--", 1)])
    seen = [draws.sample(at) for at in range(6)]
    shown = sorted((one.case, round(float(one.image.mean()))) for one in seen)
    assert shown == [("e0", 0), ("e0", 2), ("e1", 0), ("e1", 1), ("e1", 2), ("e1", 3)]
    for one in seen:
        assert one.labels.shape == (1,)
        assert one.classes.numel() == 0
    again = draws.sample(3)
    assert (again.image == seen[3].image).all()


def test_balanced_slices_are_present_half_of_the_time():
    few = [example("+" + "-" * 30)]
    draws = SliceDraws(flat("patches.balanced=1"), few)
    present = sum(int(draws.sample(at).labels[0] == 1) for at in range(200))
    assert 70 < present < 130
    draws = SliceDraws(flat("patches.balanced=0"), few)
    assert sum(int(draws.sample(at).labels[0] == 1) for at in range(31)) == 1


@pytest.mark.parametrize("states", ["+++", "---", "???"])
def test_nothing_is_learnt_from_one_class_in_all_slices(states):
    with pytest.raises(UserError, match="split train: "):
        SliceDraws(flat(), [example(states)])


def test_neighbours_are_channels():
    one = example("+--")
    around = LabelledExample(one.case, one.group, one.image, one.labels, context=1)
    image, states = around.plane(0)
    assert image[:, 0, 0].tolist() == [0, 0, 1]
    assert states.tolist() == [1]


@pytest.mark.slow
def test_a_classifier_is_trained_from_the_command_without_a_mask(tmp_path):
    folder = slices(tmp_path, "+-+--++-?")
    lines = []
    work = train_model("lgg-classifier", str(folder), tmp_path / "run", small())
    result = run(work, lambda sign: lines.append(sign.message))
    assert result["steps"] == 2
    assert set(result["best"]) == {"loss", "spot_auroc", "score"}
    told = [line for line in lines if "image-level labels" in line]
    assert told[0].startswith("train: image-level labels of 6 cases from the manif")
    kept = json.loads((tmp_path / "run" / "part" / "config.json").read_text())
    assert kept["network"]["name"] == "slice_classifier"


def test_a_data_set_without_negatives_is_refused_in_one_line(tmp_path):
    folder = slices(tmp_path, "++++++")
    work = train_model("lgg-classifier", str(folder), tmp_path / "run", small())
    with pytest.raises(UserError, match=r"split train of .* spot is present in every"):
        run(work)


def test_channels_that_are_missing_are_named(tmp_path):
    folder = slices(tmp_path, "+-+-")
    more = small("preparation.channels=[FLAIR, T1]", "network.channels=2")
    with pytest.raises(UserError, match="channel"):
        run(train_model("lgg-classifier", str(folder), tmp_path / "run", more))
