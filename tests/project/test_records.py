"""The journal on disk: what is damaged is found, left out and told."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from diffseg.domain import ImageLabels, LabelTable
from diffseg.errors import UserError
from diffseg.project import notebook
from diffseg.project.annotation import Annotation
from diffseg.project.facts import CaseFacts
from diffseg.project.notebook import Notebook, files_of
from diffseg.project.records import (
    DamagedError,
    Dense,
    Header,
    Payload,
    Sparse,
    read_record,
    write_record,
)
from diffseg.project.replay import read_case
from diffseg.project.shadow import slabs_of
from diffseg.volume import Affine, Grid

SHAPE = (5, 4, 6)
HEADER = Header("strokes", 1, 1.5, 3, SHAPE)
TABLE = LabelTable.model_validate({"labels": [{"name": "one", "value": 1}]})
SLAB = 24 * 2
"""Two planes at a time, and one plane in the last slab."""


def facts() -> CaseFacts:
    return CaseFacts(
        "case", (), Grid(SHAPE, Affine.identity()), TABLE, ImageLabels.parse("one")
    )


def three_records(folder: Path) -> list[Annotation]:
    """A notebook of three records, and the mask after each."""
    annotation = Annotation.empty(SHAPE)
    book = Notebook(folder, facts(), annotation)
    states = []
    for plane in range(3):
        annotation.values[plane, 0] = plane + 1
        annotation.touched[plane, 0] = True
        assert book.keep() is not None
        states.append(Annotation(annotation.values.copy(), annotation.touched.copy()))
    return states


def one_record(path: Path) -> Path:
    payload = Payload()
    payload.add(Dense(24, np.arange(24, dtype=np.uint8), np.full(3, 255, np.uint8)))
    indices = np.array([0, 3, 119])
    payload.add(Sparse(indices, np.array([1, 2, 255], np.uint8), indices > 2))
    assert write_record(path, HEADER, payload) == path.stat().st_size
    return path


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = read_record(one_record(tmp_path / "a"))
    assert record.header == HEADER
    assert record.sparse.indices.tolist() == [0, 3, 119]
    assert record.sparse.values.tolist() == [1, 2, 255]
    assert record.sparse.touched.tolist() == [False, True, True]
    (dense,) = record.dense
    assert dense.start == 24
    assert dense.values.tolist() == list(range(24))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_or_missing_byte_is_found(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = one_record(tmp_path_factory.mktemp("record") / "a")
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] ^= data.draw(st.integers(1, 255))
    else:
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    path.write_bytes(whole)
    with pytest.raises(DamagedError):
        read_record(path)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (pytest.fail, ("unpickled",))

    array = np.empty(1, object)
    array[0] = Bomb()
    whole = io.BytesIO()
    np.lib.format.write_array(whole, array, allow_pickle=True)
    payload = Payload()
    for name in ("steps", "values", "touched"):
        payload._archive.writestr(f"{name}.npy", whole.getvalue())
    path = tmp_path / "a"
    write_record(path, HEADER, payload)
    with pytest.raises(DamagedError, match="allow_pickle"):
        read_record(path)


def test_a_newer_version_is_not_guessed_at(tmp_path: Path) -> None:
    write_record(tmp_path / "a", replace(HEADER, version=99), Payload())
    with pytest.raises(DamagedError, match="version 99"):
        read_record(tmp_path / "a")


def test_voxels_outside_are_not_set(tmp_path: Path) -> None:
    payload = Payload()
    one = np.ones(1, np.uint8)
    payload.add(Sparse(np.array([120]), one, one.astype(np.bool_)))
    write_record(tmp_path / "a", HEADER, payload)
    with pytest.raises(DamagedError, match="outside"):
        read_record(tmp_path / "a")


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("sound", [1, 2])
def test_a_bad_end_costs_only_itself(tmp_path: Path, sound: int) -> None:
    states = three_records(tmp_path)
    for sequence in range(sound + 1, 4):
        damage(files_of(tmp_path, "strokes")[sequence])
    restored = read_case(tmp_path)
    np.testing.assert_array_equal(restored.values, states[sound - 1].values)
    np.testing.assert_array_equal(restored.touched, states[sound - 1].touched)
    assert f"{3 - sound} of 3 records are damaged" in restored.warnings[0]


@pytest.mark.parametrize("how", [damage, Path.unlink], ids=["damaged", "missing"])
def test_a_bad_record_in_the_middle_costs_only_itself(
    tmp_path: Path, how: Callable[[Path], None]
) -> None:
    states = three_records(tmp_path)
    how(files_of(tmp_path, "strokes")[2])
    restored = read_case(tmp_path)
    expected = states[2].values.copy()
    expected[1] = 0
    np.testing.assert_array_equal(restored.values, expected)
    assert "1 of 3 records are damaged" in restored.warnings[0]


def test_where_nothing_is_sound_it_is_said(tmp_path: Path) -> None:
    three_records(tmp_path)
    for path in files_of(tmp_path, "strokes").values():
        damage(path)
    with pytest.raises(UserError, match="nothing"):
        read_case(tmp_path)


def test_a_case_whose_facts_are_lost_is_still_a_mask(tmp_path: Path) -> None:
    states = three_records(tmp_path)
    (tmp_path / "case.json").write_text('{"name": "ca')
    restored = read_case(tmp_path)
    np.testing.assert_array_equal(restored.values, states[2].values)
    assert restored.table.values == (1, 2, 3)
    assert "is lost" in restored.warnings[0]


def test_a_damaged_proposal_is_told(tmp_path: Path) -> None:
    annotation = Annotation.empty(SHAPE)
    book = Notebook(tmp_path, facts(), annotation)
    annotation.values[0] = 1
    annotation.proposed = np.ones(SHAPE, np.uint8)
    book.keep()
    list(book.chores())
    assert (read_case(tmp_path).proposed == 1).all()  # type: ignore[attr-defined]
    damage(files_of(tmp_path, "proposed")[1])
    restored = read_case(tmp_path)
    assert restored.proposed is None
    assert any("proposal is damaged" in line for line in restored.warnings)


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    largest=st.integers(1, 200),
)
def test_slabs_cover_every_voxel_once(
    shape: tuple[int, int, int], largest: int
) -> None:
    count = np.zeros(shape, np.int32)
    flat = np.arange(count.size).reshape(shape)
    for slab in slabs_of(shape, largest):
        count[slab.box] += 1
        expected = np.arange(slab.start, slab.start + slab.size)
        np.testing.assert_array_equal(flat[slab.box].reshape(-1), expected)
        assert slab.size <= max(largest, shape[2])
    assert (count == 1).all()


boxes = st.tuples(*[st.integers(0, size - 1) for size in SHAPE]).flatmap(
    lambda low: st.tuples(
        *[
            st.integers(start + 1, size).map(lambda stop, start=start: (start, stop))
            for start, size in zip(low, SHAPE, strict=True)
        ]
    )
)
steps = st.one_of(
    st.tuples(st.just("edit"), boxes, st.integers(0, 3), st.booleans()),
    st.tuples(st.just("keep")),
    st.tuples(st.just("chore")),
    st.tuples(st.just("fail")),
    st.tuples(st.just("read")),
)


@settings(max_examples=60, deadline=None)
@given(
    start=st.integers(0, 2),
    turned=st.booleans(),
    sequence=st.lists(steps, min_size=1, max_size=25),
)
def test_whatever_happens_the_last_kept_mask_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    start: int,
    turned: bool,
    sequence: list[tuple[object, ...]],
) -> None:
    """Edits, rounds, pieces of compaction and full disks, in any order."""
    folder = tmp_path_factory.mktemp("case")
    annotation = Annotation.empty(SHAPE)
    if turned:  # memory of another order, as a reader may leave it
        annotation.values = np.zeros(SHAPE[::-1], np.uint8).transpose()
    annotation.values[:start] = start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(notebook, "MOST_RECORDS", 2)
        patch.setattr("diffseg.volume.atomic._flush", lambda path: None)
        book = Notebook(folder, facts(), annotation, largest=SLAB)
        book.keep()
        kept = [annotation.values.copy(), annotation.touched.copy()]
        chores = book.chores()
        for name, *given_ in sequence:
            if name == "edit":
                edit(annotation, *given_)  # type: ignore[arg-type]
            elif name == "keep":
                book.keep()
                kept = [annotation.values.copy(), annotation.touched.copy()]
            elif name == "chore" and next(chores, 0) == 0:
                chores = book.chores()
            elif name == "fail":
                keep_on_a_full_disk(book)
            if name in ("read", "chore"):
                same_as(folder, kept)
        book.keep()
        same_as(folder, [annotation.values, annotation.touched])


def edit(
    annotation: Annotation, ranges: list[tuple[int, int]], value: int, touch: bool
) -> None:
    box = tuple(slice(*pair) for pair in ranges)
    annotation.values[box] = value
    annotation.touched[box] = touch


def keep_on_a_full_disk(book: Notebook) -> None:
    def full(*_: object) -> None:
        raise OSError("full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.replace", full)
        with contextlib.suppress(UserError):
            assert book.keep() is None  # there was nothing to write


def same_as(folder: Path, kept: list[NDArray[np.generic]]) -> None:
    if not files_of(folder, "strokes") and not files_of(folder, "base"):
        assert not any(array.any() for array in kept)
        return
    restored = read_case(folder)
    np.testing.assert_array_equal(restored.values, kept[0])
    np.testing.assert_array_equal(restored.touched, kept[1])
    assert restored.warnings == ()
