"""Image-level labels, slice by slice, and where they come from."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from diffseg.domain import ImageLabels, Label, LabelTable, Presence
from diffseg.domain.dicom_labels import DicomField, labels_of_dicom
from diffseg.domain.label_set import LabelSet, learnable
from diffseg.domain.mask_labels import contradictions, labels_of_mask
from diffseg.domain.slice_labels import SliceLabels
from diffseg.domain.slice_ranges import read_ranges, write_ranges
from diffseg.errors import UserError
from diffseg.volume import Volume

NAMES = ("tumour", "oedema")
TABLE = LabelTable(
    labels=tuple(Label(name=n, value=v) for v, n in zip((3, 7), NAMES, strict=True))
)


def table(tmp_path, *lines, header="case,label,state,slices"):
    path = tmp_path / "ranges.csv"
    path.write_text("\n".join((header, *lines)) + "\n")
    return path


def column(labels, name):
    return "".join("?+-"[code] for code in labels.of(name))


def test_a_whole_image_says_absent_of_every_slice_and_present_of_none_in_particular():
    said = ImageLabels.parse("tumour,oedema=absent")
    labels = SliceLabels.of_image(said, NAMES, 3)
    assert column(labels, "tumour") == "???"
    assert column(labels, "oedema") == "---"
    assert labels.image == said
    one = SliceLabels.of_image(said, NAMES, 1)
    assert column(one, "tumour") == "+"


def test_later_lines_of_a_table_stand_over_earlier_ones(tmp_path):
    path = table(
        tmp_path,
        "a,tumour,absent,",
        "a,tumour,,2:4",
        "a,tumour,unknown,3:4",
        "b,oedema,present,0:1",
    )
    rows = read_ranges(path)
    assert column(rows.of_case("a", NAMES, 6), "tumour") == "--+?--"
    assert column(rows.of_case("a", NAMES, 6), "oedema") == "??????"
    assert column(rows.of_case("b", NAMES, 2), "oedema") == "+?"
    assert rows.of_case("c", NAMES, 2).image == ImageLabels()
    assert rows.of_case("a", NAMES, 6).origin == "ranges"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a,tumor,,", "line 2: label 'tumor' is not one of tumour, oedema; did you"),
        ("a,tumour,maybe,", "line 2: state 'maybe' is not present, absent or unknown"),
        ("a,tumour,,4:2", "line 2: slices '4:2' are no range"),
        ("a,tumour,,two", "line 2: slices 'two' are no range"),
        ("a,tumour,,2:9", "line 2: slices 2:9 are not within the image's 0:6"),
        (",tumour,,", "line 2 has no case"),
        ("a,tumour", "line 2 has another number of cells"),
    ],
)
def test_a_line_that_cannot_be_understood_is_named(tmp_path, line, said):
    path = table(tmp_path, line)
    with pytest.raises(UserError, match=r"ranges\.csv") as told:
        read_ranges(path).of_case("a", NAMES, 6)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_table_lacks_a_column_or_speaks_of_no_case_there_is(tmp_path):
    with pytest.raises(UserError, match="lacks the column slices"):
        read_ranges(table(tmp_path, "a,tumour", header="case,label"))
    with pytest.raises(UserError, match="says nothing"):
        read_ranges(table(tmp_path))
    with pytest.raises(UserError, match="there is no case 'pat1'; did you mean 'pat_1"):
        read_ranges(table(tmp_path, "pat1,tumour,,")).check_cases(["pat_1", "other"])


def test_a_table_that_was_written_is_read_back(tmp_path):
    states = np.array([[0, 2], [1, 2], [1, 2], [2, 2]], np.uint8)
    left = SliceLabels(NAMES, states)
    somewhere = SliceLabels.of_image(ImageLabels.parse("tumour"), NAMES, 4)
    path = write_ranges(tmp_path / "out.csv", {"a": left, "b": somewhere})
    found = read_ranges(path)
    for case, labels in (("a", left), ("b", somewhere)):
        again = found.of_case(case, NAMES, 4)
        assert (again.states == labels.states).all(), path.read_text()
        assert again.image == labels.image


def test_a_mask_is_reduced_to_labels_and_says_so():
    mask = np.zeros((3, 10, 10), np.uint8)
    mask[0, :5] = 3
    mask[1, 0, 0] = 7
    labels = labels_of_mask(mask, TABLE)
    assert column(labels, "tumour") == "+--"
    assert column(labels, "oedema") == "-+-"
    assert column(labels_of_mask(mask, TABLE, 0.01), "oedema") == "---"
    told = LabelSet(NAMES, {"a": labels}).told()
    assert "from masks, reduced to labels: tumour present in 1 slices" in told


def test_labels_that_a_mask_contradicts_are_reported_one_by_one():
    mask = np.zeros((4, 5, 5), np.uint8)
    mask[1, 0, :2], mask[3, 0, 0] = 3, 3
    states = np.array([[1, 0], [2, 2], [2, 0], [0, 0]], np.uint8)
    labels = SliceLabels(NAMES, states, "ranges")
    found = contradictions("a", labels, mask, TABLE)
    assert [(one.plane, one.said, one.voxels) for one in found] == [
        (0, "present", 0),
        (1, "absent", 2),
    ]
    assert str(found[1]).startswith("case a slice 1: tumour is said to be absent, and")
    assert not contradictions("a", labels_of_mask(mask, TABLE), mask, TABLE)


def test_two_sources_complete_each_other_and_may_not_contradict():
    one = SliceLabels(("t",), np.array([[1], [0], [0]], np.uint8), "ranges")
    two = SliceLabels(("t",), np.array([[1], [2], [0]], np.uint8), "manifest")
    assert column(one.over(two), "t") == "+-?"
    other = SliceLabels(("t",), np.array([[2], [2], [0]], np.uint8), "manifest")
    with pytest.raises(UserError, match="slice 0: t is present by a table of slice"):
        one.over(other)


def test_labels_are_frozen_and_checked():
    labels = SliceLabels(("t",), np.array([[1]], np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        labels.states[0] = 2
    with pytest.raises(ValueError, match="not 0, 1 or 2"):
        SliceLabels(("t",), np.array([[3]], np.uint8))
    with pytest.raises(UserError, match="'tumor' is not one of tumour, oedema; did"):
        SliceLabels(NAMES, np.zeros((1, 2), np.uint8)).of("tumor")


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ("+++", "tumour is present in every slice (3) and absent in none"),
        ("+?+", "present in every slice that is labelled (2) and absent in none"),
        ("-?-", "tumour is present in no slice (absent in 2, unknown in 1)"),
        ("???", "whether tumour is there is unknown in all 3 slices"),
        ("", "has no slice with image-level labels"),
    ],
)
def test_labels_that_nothing_can_be_learnt_from_are_refused(states, said):
    codes = np.array([["?+-".index(one)] for one in states], np.uint8).reshape(-1, 1)
    labels = LabelSet(("tumour",), {"a": SliceLabels(("tumour",), codes)})
    with pytest.raises(UserError, match="split train of DIR") as told:
        learnable(labels, "split train of DIR")
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_labels_of_several_classes_can_be_learnt_from():
    states = np.array([[1, 2], [2, 1], [0, 0]], np.uint8)
    labels = learnable(LabelSet(NAMES, {"a": SliceLabels(NAMES, states)}), "here")
    assert labels.counts()["oedema"].present == 1
    assert labels.counts()["tumour"].unknown == 1


def dicom_series(folder, comments, keyword="ImageComments"):
    """A series of as many slices as there are comments."""
    series, study = generate_uid(), generate_uid()
    for z, comment in enumerate(comments):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        one = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID = meta.MediaStorageSOPClassUID
        one.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        one.SeriesInstanceUID, one.StudyInstanceUID = series, study
        one.Modality, one.InstanceNumber = "MR", z + 1
        one.Rows = one.Columns = 4
        one.PixelSpacing, one.SliceThickness = [1, 1], 2
        one.ImagePositionPatient = [0, 0, 2 * z]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 0
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.PixelData = np.full((4, 4), z, np.uint16).tobytes()
        if comment is not None:
            setattr(one, keyword, comment)
        # Written in another order than the slices lie in.
        pydicom.dcmwrite(folder / f"{9 - z}.dcm", one, enforce_file_format=True)
    return Volume.read(folder)


def test_a_dicom_field_says_what_is_present_in_each_slice(tmp_path):
    volume = dicom_series(
        tmp_path, ["tumour", "none", None, "oedema;tumour", "tumour=unknown"]
    )
    labels = labels_of_dicom(volume, NAMES, DicomField(field="ImageComments"))
    assert column(labels, "tumour") == "+-?+?"
    assert column(labels, "oedema") == "--?+?"
    assert labels.origin == "dicom"
    by_tag = labels_of_dicom(volume, NAMES, DicomField(field="(0020,4000)"))
    assert (by_tag.states == labels.states).all()


def test_values_of_a_dicom_field_are_given_a_meaning(tmp_path):
    volume = dicom_series(tmp_path, ["MALIGNANT", "NORMAL"])
    rule = DicomField(
        field="ImageComments", values={"MALIGNANT": "tumour", "NORMAL": "none"}
    )
    assert column(labels_of_dicom(volume, ("tumour",), rule), "tumour") == "+-"
    few = DicomField(field="ImageComments", values={"MALIGNANT": "tumour"})
    with pytest.raises(UserError, match="says 'NORMAL', which is not one of MALIGN"):
        labels_of_dicom(volume, ("tumour",), few)


def test_a_field_of_the_series_speaks_of_the_image_as_a_whole(tmp_path):
    volume = dicom_series(tmp_path, ["tumour", "tumour"])
    rule = DicomField(field="ImageComments", of="series")
    labels = labels_of_dicom(volume, NAMES, rule)
    assert column(labels, "tumour") == "??"
    assert column(labels, "oedema") == "--"
    assert labels.image["tumour"] is Presence.PRESENT


def test_a_dicom_field_that_says_nothing_or_differs_is_refused(tmp_path):
    volume = dicom_series(tmp_path, ["tumour", "none"])
    for rule, said in (
        (DicomField(field="PatientComments"), "no image has the field"),
        (DicomField(field="Comment"), "'Comment' is neither a DICOM keyword"),
        (DicomField(field="ImageComments", of="series"), "differs between the images"),
    ):
        with pytest.raises(UserError, match=said):
            labels_of_dicom(volume, NAMES, rule)
    with pytest.raises(UserError, match="says 'tumour', which is not one of tumor"):
        labels_of_dicom(volume, ("tumor",), DicomField(field="ImageComments"))
