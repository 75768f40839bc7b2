"""What goes wrong in a run is told in one line, and leaves the last state whole."""

import errno
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from beside import beside
from safetensors.torch import load_file

from diffseg.domain import Label, LabelTable
from diffseg.errors import UserError
from diffseg.progress import run
from diffseg_training import memory, state
from diffseg_training.lock import alone_in
from diffseg_training.machines import make_accelerator
from diffseg_training.run import draft_card
from diffseg_training.training_set import Example
from diffseg_training.validation import check_network

tiny_run = beside(__file__, "tiny_run")
tiny_recipe, tiny_train = tiny_run.tiny_recipe, tiny_run.tiny_train


def refused(work):
    """The one line of the error that ends a run."""
    with pytest.raises(UserError) as caught:
        run(work)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def broken_example():
    one = tiny_run.tiny_examples(1)[0]
    return Example("broken", torch.full_like(one.image, torch.nan), one.classes, 2)


def test_gradients_that_stay_not_finite_end_the_run_and_name_the_cases(tmp_path):
    recipe = tiny_recipe(40, "optimiser.not_finite=3", "augmentation.gamma=0")
    run(tiny_train(tiny_recipe(4), tmp_path))
    before = (tmp_path / "state" / "state.json").read_text(encoding="utf-8")
    work = tiny_train(recipe, tmp_path, examples=[broken_example()], resume=True)
    said = refused(work)
    assert said.startswith("3 steps in a row, up to step 7, had no finite gradient")
    assert "the last with broken" in said
    assert (tmp_path / "state" / "state.json").read_text(encoding="utf-8") == before
    run(tiny_train(recipe, tmp_path, resume=True))  # with the cases that are whole


def test_a_broken_step_is_skipped_counted_and_leaves_no_trace(tmp_path):
    examples = [broken_example(), *tiny_run.tiny_examples(3)]
    recipe = tiny_recipe(
        8, "optimiser.batch=1", "augmentation.gamma=0", "augmentation.blur=0"
    )
    result = run(tiny_train(recipe, tmp_path, examples=examples))
    assert result.skipped == 2
    tensors = result.network.state_dict().values()  # running statistics, too
    assert all(bool(torch.isfinite(t).all()) for t in tensors)
    rows = state.read_log(tmp_path / "log.jsonl")
    assert all(row.get("loss", 0) == row.get("loss", 0) for row in rows)


def test_a_state_of_another_network_is_refused_by_its_keys(tmp_path):
    run(tiny_train(tiny_recipe(2), tmp_path))

    class Other(tiny_run.TinyDenoiser):
        def __init__(self):
            super().__init__()
            self.extra = torch.nn.Linear(2, 2)
            self.last = torch.nn.Conv2d(8, 1, 1)

    said = refused(tiny_train(tiny_recipe(4), tmp_path, Other, resume=True))
    assert "lacks extra.bias, extra.weight" in said
    assert "another shape of last.weight" in said


def test_what_would_have_to_be_unpickled_is_never_read(tmp_path):
    run(tiny_train(tiny_recipe(2), tmp_path))
    (file,) = (tmp_path / "state").glob("state-*.safetensors")
    trap = tmp_path / "sprung"

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(trap),))

    file.write_bytes(pickle.dumps(Trap()))
    said = refused(tiny_train(tiny_recipe(4), tmp_path, resume=True))
    assert "is not safetensors, and nothing else is read" in said
    assert not trap.exists()


def test_a_full_disk_leaves_the_state_before_it(tmp_path, monkeypatch):
    run(tiny_train(tiny_recipe(2), tmp_path))
    before = json.loads((tmp_path / "state" / "state.json").read_text(encoding="utf-8"))

    def full(tensors, path):
        Path(path).write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(state, "save_file", full)
        said = refused(tiny_train(tiny_recipe(4), tmp_path, resume=True))
    assert "No space left on device; the state before it is whole" in said
    files = {path.name for path in (tmp_path / "state").iterdir()}
    assert files == {"state.json", before["tensors"]}
    load_file(tmp_path / "state" / before["tensors"])
    assert run(tiny_train(tiny_recipe(4), tmp_path, resume=True)).steps == 4


def test_a_folder_holds_one_training_at_a_time(tmp_path):
    with (
        alone_in(tmp_path),
        pytest.raises(UserError, match=rf"\(process {os.getpid()}\): wait for it"),
        alone_in(tmp_path),
    ):
        pass
    # What a dead process left is taken over.
    (tmp_path / ".lock").touch()
    (tmp_path / ".owner").write_text("1\n")
    with alone_in(tmp_path):
        assert (tmp_path / ".owner").read_text() == f"{os.getpid()}\n"
    assert not list(tmp_path.iterdir())


def test_a_run_that_does_not_fit_is_refused_before_its_first_step(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(memory, "free_memory", lambda _: 100_000)
    said = refused(tiny_train(tiny_recipe(2), tmp_path))
    assert "0.00 GB are free on cpu: give a higher optimiser.accumulate" in said
    assert not (tmp_path / "state").exists()


def test_memory_is_predicted_from_a_step(tmp_path):
    """What a small step predicts of a large one is what the large one remembers."""
    recipe = tiny_recipe(2, "patch=[64, 64]")
    network = tiny_run.TinyDenoiser()
    from diffseg_training.objectives import make_loss
    from diffseg_training.step import Step

    step = Step(network, make_loss(recipe, network))
    before = {k: v.clone() for k, v in step.state_dict().items()}
    need = memory.predict(step, recipe, 1, 4, "cpu")
    took = memory._remembered(step, recipe, (4, 1, 64, 64), "cpu")
    assert need.activations == pytest.approx(took * memory._IN_FLIGHT, rel=0.1)
    assert took > 4 * 64 * 64 * 8 * 4  # at least one map of eight channels
    trained = sum(p.numel() * 4 for p in network.parameters())
    assert need.training == 5 * trained
    network.load_state_dict(before, strict=False)
    step.load_state_dict(before)
    memory.predict(step, recipe, 1, 4, "cpu")
    after = step.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.precision=fp16", "precision fp16 needs a GPU"),
        ("optimiser.accumulate=3", "give a multiple of 3"),
    ],
)
def test_what_the_machine_cannot_do_is_told(tmp_path, override, message):
    with pytest.raises(UserError, match=message):
        make_accelerator(tiny_recipe(2, override), "cpu", tmp_path)


def test_a_network_that_cannot_be_used_is_refused_before_its_first_step(tmp_path):
    given = tiny_recipe(4)
    two = LabelTable(labels=(Label(name="a", value=1), Label(name="b", value=2)))
    card = draft_card(given, two)
    work = tiny_train(
        given, tmp_path, check=lambda network: check_network(network, card, "cpu")
    )
    assert "its network has 1 mask channels" in refused(work)
    assert not (tmp_path / "log.jsonl").exists()


def test_an_unknown_tracker_is_told(tmp_path):
    said = refused(tiny_train(tiny_recipe(2, "trackers=[tensorbord]"), tmp_path))
    assert "did you mean 'tensorboard'?" in said


def test_nothing_to_learn_from_is_told(tmp_path):
    with pytest.raises(UserError, match="no case to learn from"):
        next(tiny_run.iter_train(tiny_recipe(2), [], tiny_run.tiny_score, tmp_path))
    empty = [
        Example(one.case, one.image, torch.zeros_like(one.classes), 2)
        for one in tiny_run.tiny_examples(2)
    ]
    recipe = tiny_recipe(2, "patches.foreground=0.5")
    assert "no mask of the split train holds a class" in refused(
        tiny_train(recipe, tmp_path, examples=empty)
    )
