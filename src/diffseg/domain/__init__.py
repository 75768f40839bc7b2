"""The nouns: label tables, image-level labels, requests, proposals, model cards."""

from diffseg.domain.card import (
    Intensity,
    Localisation,
    ModelCard,
    Preparation,
    Sampling,
    TemplateBox,
)
from diffseg.domain.change import Change
from diffseg.domain.labels import ImageLabels, Label, LabelTable, Presence
from diffseg.domain.preview import Preview
from diffseg.domain.proposal import (
    Proposal,
    Provenance,
    RegionReport,
    StructureReport,
)
from diffseg.domain.request import Region, Request
from diffseg.domain.resampling import Resampling
from diffseg.domain.strokes import Strokes

__all__ = [
    "Change",
    "ImageLabels",
    "Intensity",
    "Label",
    "LabelTable",
    "Localisation",
    "ModelCard",
    "Preparation",
    "Presence",
    "Preview",
    "Proposal",
    "Provenance",
    "Region",
    "RegionReport",
    "Request",
    "Resampling",
    "Sampling",
    "Strokes",
    "StructureReport",
    "TemplateBox",
]
