"""Which examples a run sees, where they wait, and how they are changed."""

import threading

import nibabel
import numpy as np
import pytest
import torch
from beside import beside

from diffseg.diffusion import generator
from diffseg.domain import Preparation
from diffseg.progress import run
from diffseg_training.augment import example
from diffseg_training.cache import Cache
from diffseg_training.dataset import load_dataset
from diffseg_training.loader import Loader
from diffseg_training.recipe import Augmentation
from diffseg_training.sampling import Draws
from diffseg_training.training_set import (
    Example,
    StoredExample,
    places_of,
    prepare_examples,
)

tiny_run = beside(__file__, "tiny_run")
tiny_recipe = tiny_run.tiny_recipe

PLAIN = ["augmentation.gamma=0", "augmentation.contrast=0", "augmentation.noise=0"]
PLAIN += ["augmentation.blur=0", "augmentation.elastic=0", "augmentation.shift=0"]
PLAIN += ["augmentation.rotate_deg=0", "augmentation.scale=0"]
PLAIN += ["augmentation.flip_axes=[]"]


def volumes():
    """Five cases of ten slices: one has class 1 in its slice 3, one class 2 in 7."""
    found = []
    for number in range(5):
        classes = torch.zeros(10, 40, 40, dtype=torch.uint8)
        if number == 1:
            classes[3, 30:33, 2:5] = 1
        if number == 4:
            classes[7, 5:8, 30:33] = 2
        found.append(Example(f"v{number}", classes[None].float(), classes, dims=2))
    return found


# Which


def test_every_case_is_seen_once_in_an_epoch_and_as_often_as_is_asked():
    examples = volumes()
    for each in (1, 3):
        draws = Draws(tiny_recipe(1, f"patches.per_case={each}"), examples)
        for epoch in range(2):
            seen = [draws.sample(epoch * 5 * each + i).case for i in range(5 * each)]
            assert sorted(seen) == sorted([one.case for one in examples] * each)


def test_balanced_cases_have_a_class_and_the_classes_are_even():
    draws = Draws(tiny_recipe(1, "patches.balanced=1"), volumes())
    seen = [draws.sample(i).case for i in range(200)]
    assert set(seen) == {"v1", "v4"}
    assert 70 < seen.count("v1") < 130


def test_foreground_patches_show_the_class_in_a_slice_that_has_it():
    recipe = tiny_recipe(
        1, "patches.balanced=1", "patches.foreground=1", "patch=[8, 8]", *PLAIN
    )
    draws = Draws(recipe, volumes())
    for position in range(40):
        sample = draws.sample(position)
        assert set(sample.classes.unique().tolist()) - {0} == (
            {1} if sample.case == "v1" else {2}
        )
        # Image and mask are cut together.
        assert torch.equal(sample.image[0], sample.classes.float())
    seldom = Draws(tiny_recipe(1, "patch=[8, 8]", *PLAIN), volumes())
    assert not all(seldom.sample(i).classes.any() for i in range(40))


def test_a_sample_follows_from_its_position_alone():
    recipe = tiny_recipe(1, "patches.balanced=0.5", "patches.foreground=0.5")
    one, other = Draws(recipe, volumes()), Draws(recipe, volumes())
    backwards = {i: other.sample(i) for i in reversed(range(12))}
    for position in range(12):
        sample = one.sample(position)
        assert sample.case == backwards[position].case
        assert torch.equal(sample.image, backwards[position].image)


# Where


def write_set(folder):
    rows = ["case,group,split,image,mask,labels"]
    for i in range(3):
        random = np.random.default_rng(i)
        classes = np.zeros((12, 11, 10), np.uint8)
        classes[3:7, 4:8, 2:6] = 1
        image = (classes + random.standard_normal(classes.shape)).astype(np.float32)
        for kind, array in (("image", image), ("mask", classes)):
            path = folder / f"{kind}{i}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
        rows.append(f"c{i},g{i},train,image{i}.nii.gz,mask{i}.nii.gz,thing")
    (folder / "manifest.csv").write_text("\n".join(rows), encoding="utf-8")
    return load_dataset(folder)


def test_what_exceeds_the_memory_streams_from_disk_and_is_the_same(
    tmp_path, monkeypatch
):
    dataset, cache = write_set(tmp_path), tmp_path / "cache"
    cases, how = dataset.split("train"), Preparation(dims=2, context=1)
    held = run(prepare_examples(cases, dataset, how))
    budget = held[0].bytes_held + 1
    mixed = run(prepare_examples(cases, dataset, how, cache=cache, memory=budget))
    assert [type(one) for one in mixed] == [Example, StoredExample, StoredExample]
    for ours, theirs in zip(mixed, held, strict=True):
        assert torch.equal(ours.image, theirs.image)
        assert torch.equal(ours.classes, theirs.classes)
        assert all(map(torch.equal, ours.plane(0), theirs.plane(0)))
        assert ours.places.keys() == theirs.places.keys() == {1}
    # What lies there is not prepared again, and nothing half written is left.
    assert len(list(cache.iterdir())) == 4
    monkeypatch.setattr(Cache, "write", None)
    again = run(prepare_examples(cases, dataset, how, cache=cache, memory=budget))
    assert torch.equal(again[2].image, held[2].image)
    # Another preparation is another example.
    other = Preparation(dims=2, context=1, spacing_mm=(2.0, 2.0, 2.0))
    small = run(prepare_examples(cases, dataset, other, cache=cache))
    assert small[2].image.shape != held[2].image.shape


def test_places_are_some_voxels_of_each_class():
    classes = np.zeros((30, 40, 50), np.uint8)
    classes[:, :20], classes[2, 30, 7] = 1, 3
    places = places_of(classes)
    assert places.keys() == {1, 3}
    assert places[3].tolist() == [[2, 30, 7]]
    assert 1000 < len(places[1]) <= 2000
    assert all(classes[tuple(voxel)] == 1 for voxel in places[1])


@pytest.mark.parametrize("workers", [0, 3])
def test_a_loader_gives_what_is_asked_in_order(workers):
    made = []

    def make(position):
        made.append((position, threading.current_thread().name))
        return position * 10

    loader = Loader(make, workers, ahead=4)
    assert loader.take(range(2), range(2, 9)) == [0, 10]
    assert loader.take(range(2, 4), range(4, 9)) == [20, 30]
    assert loader.take(range(6, 8), []) == [60, 70]  # skipped ones are dropped
    loader.close()
    assert {position for position, _ in made} >= {0, 1, 2, 3, 6, 7}
    assert any("examples" in name for _, name in made) == bool(workers)


def test_an_error_in_a_thread_reaches_who_takes():
    def make(position):
        if position == 1:
            raise ValueError("broken file")
        return position

    loader = Loader(make, 1, ahead=2)
    assert loader.take(range(1), range(1, 3)) == [0]
    with pytest.raises(ValueError, match="broken file"):
        loader.take(range(1, 2), [])
    loader.close()


# How


def test_only_the_box_that_is_looked_at_is_read():
    seen = []

    class Spy(torch.Tensor):
        def __getitem__(self, index):
            part = torch.Tensor.__getitem__(self, index)
            seen.append(part.numel())
            return part

    image = torch.randn(1, 64, 64, 64)
    classes = (image[0] > 1).byte()
    config = Augmentation(elastic=0)
    centre = (20, 40, 30)
    cut = example(
        image.as_subclass(Spy), classes, (8, 8, 8), config, generator(4), centre
    )
    whole = example(image, classes, (8, 8, 8), config, generator(4), centre)
    assert torch.equal(cut[0], whole[0])
    assert max(seen) < 20**3


def test_a_centre_lies_in_the_middle_of_the_patch():
    classes = torch.zeros(40, 50, dtype=torch.uint8)
    classes[30, 12] = 1
    still = Augmentation(
        rotate_deg=0, scale=0, shift=0, elastic=0, gamma=0, contrast=0, noise=0, blur=0
    )
    image, mask = example(
        classes[None].float(), classes, (9, 9), still, generator(0), (30, 12)
    )
    assert mask.nonzero().tolist() == [[4, 4]]
    assert image[0, 4, 4] == pytest.approx(1, abs=1e-5)


def test_colour_changes_each_channel_on_its_own():
    image = torch.ones(3, 12, 12) * torch.tensor([0.2, 0.5, 0.8]).view(3, 1, 1)
    only = {
        "rotate_deg": 0, "scale": 0, "shift": 0, "elastic": 0, "gamma": 0, "noise": 0
    }  # fmt: skip
    for colour, contrast in ((0.3, 0), (0, 0.3)):
        config = Augmentation(**only, blur=0, colour=colour, contrast=contrast)
        cut, _ = example(image, image[0] > 1, (8, 8), config, generator(1))
        change = [float(cut[i].mean()) / float(image[i].mean()) for i in range(3)]
        if contrast:  # one scale and one shift for all channels
            slope = (cut[2].mean() - cut[1].mean()) / 0.3
            assert float(cut[1].mean() - cut[0].mean()) / 0.3 == pytest.approx(
                float(slope), abs=1e-4
            )
        assert max(change) - min(change) > 0.01


def test_flips_turn_image_and_mask_alike():
    classes = torch.arange(16 * 16).view(16, 16) % 3
    config = Augmentation(
        rotate_deg=0, scale=0, shift=0, elastic=0, gamma=0, contrast=0, noise=0, blur=0,
        flip_axes=(0, 1),
    )  # fmt: skip
    turned = set()
    for key in range(20):
        image, mask = example(
            classes[None].float(), classes, (16, 16), config, generator(key)
        )
        torch.testing.assert_close(image[0], mask.float(), atol=1e-4, rtol=0)
        turned.add(tuple(mask[0, :3].tolist()))
    assert len(turned) > 1
