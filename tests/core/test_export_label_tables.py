"""Label tables of ITK-SNAP, Slicer and nnU-Net."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffseg import UserError
from diffseg.domain import Label, LabelTable
from diffseg.project.exporting import read_label_table, write_label_table

TABLE = LabelTable(
    labels=(
        Label(name="left hippocampus", value=4, color="#0102FF"),
        Label(name="Läsion", value=255, color="#E69F00"),
    )
)
SNAP = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Label 1"
    2     0  128    7     0.35  0  1    "a (b), c"
"""
SLICER = """\
# Color table file /somewhere/t.ctbl
# 3 values
0 Background 0 0 0 0
1 left_kidney 185 102 83 255
7 vein 0 151 206 255
"""


@pytest.mark.parametrize("suffix", [".txt", ".ctbl"])
def test_there_and_back(tmp_path: Path, suffix: str) -> None:
    path = write_label_table(tmp_path / f"t{suffix}", TABLE)

    assert read_label_table(path) == TABLE


def test_tables_of_itksnap_and_slicer(tmp_path: Path) -> None:
    (tmp_path / "snap.txt").write_text(SNAP)
    (tmp_path / "slicer.ctbl").write_text(SLICER)

    snap = read_label_table(tmp_path / "snap.txt")
    slicer = read_label_table(tmp_path / "slicer.ctbl")

    assert [(one.name, one.value, one.color) for one in snap.each()] == [
        ("Label 1", 1, "#FF0000"),
        ("a (b), c", 2, "#008007"),
    ]
    assert [(one.name, one.value, one.color) for one in slicer.each()] == [
        ("left kidney", 1, "#B96653"),
        ("vein", 7, "#0097CE"),
    ]


def test_the_lines_that_other_programs_read(tmp_path: Path) -> None:
    snap = write_label_table(tmp_path / "t.txt", TABLE).read_text()
    slicer = write_label_table(tmp_path / "t.ctbl", TABLE).read_text()

    assert '    4     1    2  255        1  1  1    "left hippocampus"\n' in snap
    assert '    0     0    0    0        0  0  0    "Clear Label"\n' in snap
    assert slicer.endswith(
        "0 background 0 0 0 0\n4 left_hippocampus 1 2 255 255\n"
        "255 Läsion 230 159 0 255\n"
    )


def test_nnunet_counts_classes_from_one(tmp_path: Path) -> None:
    path = write_label_table(tmp_path / "dataset.json", TABLE)

    assert json.loads(path.read_text())["labels"] == {
        "background": 0,
        "left hippocampus": 1,
        "Läsion": 2,
    }
    again = read_label_table(path)
    assert again.names == TABLE.names
    assert again.values == (1, 2)
    assert len({one.color for one in again.each()}) == 2


def test_nnunet_of_both_versions_and_its_ignore(tmp_path: Path) -> None:
    new = tmp_path / "new.json"
    new.write_text('{"labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}')
    old = tmp_path / "old.json"
    old.write_text('{"labels": {"0": "background", "1": "a", "2": "b"}}')

    assert read_label_table(new).names == read_label_table(old).names == ("a", "b")
    assert read_label_table(new).values == read_label_table(old).values == (1, 2)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", SNAP + "not a label\n", "line 9 is no label"),
        ("a.txt", '  300 1 2 3  1 1 1 "far"\n', "value 300"),
        ("a.txt", '  3 1 2 399  1 1 1 "odd"\n', "color"),
        ("a.txt", SNAP + '1 0 0 0 1 1 1 "again"\n', "share one value"),
        ("a.txt", "0 background 0 0 0 0\n", "no label but"),
        ("a.json", '{"labels": {"whole": [1, 2]}}', "region of several values"),
        ("a.json", "[]", "not a dataset.json"),
        ("a.txt", None, "No such file"),
    ],
)
def test_what_is_no_table_is_told_in_one_line(
    tmp_path: Path, name: str, text: str | None, words: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words) as told:
        read_label_table(tmp_path / name)
    assert "\n" not in str(told.value)
    assert name in str(told.value)


def test_names_that_a_format_cannot_tell_are_refused(tmp_path: Path) -> None:
    def table(*names: str) -> LabelTable:
        labels = (Label(name=one, value=at + 1) for at, one in enumerate(names))
        return LabelTable(labels=tuple(labels))

    for suffix, given in (
        (".txt", table('the "big" one')),
        (".ctbl", table("a b", "a_b")),
        (".json", table("background")),
    ):
        with pytest.raises(UserError, match="rename"):
            write_label_table(tmp_path / f"t{suffix}", given)
    with pytest.raises(UserError, match="ends in"):
        write_label_table(tmp_path / "t.csv", TABLE)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("mine")
    with pytest.raises(UserError, match="is there"):
        write_label_table(path, TABLE)
    assert path.read_text() == "mine"
    write_label_table(path, TABLE, overwrite=True)
    assert read_label_table(path) == TABLE
