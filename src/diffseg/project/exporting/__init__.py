"""Exports and imports: NIfTI, .seg.nrrd, DICOM-SEG, nnU-Net, CSV, label tables."""

from diffseg.project.exporting.dicom_seg import write_dicom_seg
from diffseg.project.exporting.dicom_seg_reading import read_dicom_seg
from diffseg.project.exporting.export import export
from diffseg.project.exporting.formats import ExportFormat, formats
from diffseg.project.exporting.label_tables import read_label_table, write_label_table
from diffseg.project.exporting.measures import COLUMNS, Measures, measures_of
from diffseg.project.exporting.nouns import (
    ExportCase,
    Exported,
    ExportSettings,
    Maker,
)
from diffseg.project.exporting.seg_nrrd import write_seg_nrrd
from diffseg.project.exporting.seg_nrrd_reading import read_seg_nrrd

__all__ = [
    "COLUMNS",
    "ExportCase",
    "ExportFormat",
    "ExportSettings",
    "Exported",
    "Maker",
    "Measures",
    "export",
    "formats",
    "measures_of",
    "read_dicom_seg",
    "read_label_table",
    "read_seg_nrrd",
    "write_dicom_seg",
    "write_label_table",
    "write_seg_nrrd",
]
