"""A project's image-level labels as a data set to learn from."""

import nibabel
import numpy as np
import pytest

from diffseg.domain import Label, LabelTable, Preparation, Presence
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg.project import store
from diffseg.project.store.slice_labels import slice_labels_of
from diffseg_training.dataset import load_dataset
from diffseg_training.labelled import label_set, prepare_labelled
from diffseg_training.recipe_labels import Labelling

TABLE = LabelTable(
    labels=tuple(Label(name=n, value=v) for v, n in ((1, "spot"), (2, "other")))
)


@pytest.fixture
def project(tmp_path):
    """Four patients of six slices; the spot is said to be in 2:4 of all but one."""
    made = store.create_project(tmp_path / "project", labels=TABLE, annotator="anna")
    for number in range(4):
        data = np.random.default_rng(number).random((8, 8, 6), np.float32)
        path = tmp_path / f"sub-{number}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), path)
        case = store.add_case(made, path, annotator="anna")

        def say(state, case=case, **more):
            store.set_label(made, case.id, "spot", state, annotator="anna", **more)

        say(Presence.ABSENT)
        if number != 3:
            say(Presence.PRESENT, slices=(2, 4))
    yield made
    made.close()


def test_what_was_said_of_a_case_becomes_labels_of_its_slices(project):
    case = store.find_case(project, "sub-0")
    labels = slice_labels_of(project, case.id)
    assert labels.names == ("spot",)
    assert labels.states[:, 0].tolist() == [2, 2, 1, 1, 2, 2]
    assert labels.origin == "project"
    store.undo_label(project, case.id, annotator="anna")
    again = slice_labels_of(project, case.id, ("spot", "other"))
    assert again.states.tolist() == [[2, 0]] * 6


def test_a_project_is_a_data_set_of_labels_by_patient(project, tmp_path):
    dataset = load_dataset(tmp_path / "project", masks=False)
    assert dataset.labels.names == ("spot",)
    assert {case.group for case in dataset.cases} == {f"sub-{i}" for i in range(4)}
    splits = [case.split for case in dataset.cases]
    assert sorted(splits) == ["train"] * 3 + ["val"]
    assert all(case.mask is None for case in dataset.cases)
    how = Preparation(dims=2, intensity={"kind": "range", "low": 0, "high": 1})
    examples = run(prepare_labelled(dataset.cases, dataset, how, Labelling()))
    counts = label_set(examples, "here").counts()["spot"]
    assert (counts.present, counts.absent, counts.unknown) == (6, 18, 0)
    assert "from a project" in label_set(examples, "here").told()


def test_a_project_is_no_data_set_of_masks_nor_one_of_which_nothing_was_said(
    project, tmp_path
):
    with pytest.raises(UserError, match="diffseg project finetune"):
        load_dataset(tmp_path / "project")
    store.create_project(tmp_path / "silent", annotator="anna").close()
    with pytest.raises(UserError, match="nothing was said of any case of project"):
        load_dataset(tmp_path / "silent", masks=False)
