"""Methods that answer a request with a proposal, all of one Protocol.

Importing this package loads no torch; a method's own module does, when a
model of that method is loaded.
"""

from diffseg.segmenters.base import Segmenter, load_segmenter
from diffseg.segmenters.device import describe, resolve_device, why_cpu
from diffseg.segmenters.intensity import finite, normalise
from diffseg.segmenters.pipeline import Host, iter_propose_with
from diffseg.segmenters.preparation import Frame, Prepared, frame_of, prepare, restore
from diffseg.segmenters.source import MemberSource, Slab

__all__ = [
    "Frame",
    "Host",
    "MemberSource",
    "Prepared",
    "Segmenter",
    "Slab",
    "describe",
    "finite",
    "frame_of",
    "iter_propose_with",
    "load_segmenter",
    "normalise",
    "prepare",
    "resolve_device",
    "restore",
    "why_cpu",
]
