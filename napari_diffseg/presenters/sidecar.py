"""What a mask's sidecar says: image, model, and how much of it a person set."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffseg.presenters.tables import counts_of

if TYPE_CHECKING:
    from napari_diffseg.presenters.files import Export

SCHEMA = "diffseg-mask-1"
"""Of the sidecar."""


def provenance_of(export: Export) -> dict[str, Any]:
    """The sidecar's content, as plain values."""
    proposal = export.proposal
    made = None if proposal is None else proposal.provenance
    counts = counts_of(export.values)
    ml = export.grid.voxel_ml
    return {
        "schema": SCHEMA,
        "mask": export.path.name,
        "image": [Path(one).name for one in export.source.paths],
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": None if made is None else dict(made.model),
        "seed": None if made is None else made.seed,
        "members": None if made is None else made.members,
        "steps": None if made is None else made.steps,
        "device": None if made is None else made.device,
        "voxels_touched_by_a_person": export.touched,
        "voxels_changed_since_proposal": export.changed if made else None,
        "structures": [
            {
                "name": label.name,
                "label": label.value,
                "voxels": int(counts[label.value]),
                "volume_ml": None if ml is None else int(counts[label.value]) * ml,
            }
            for label in export.labels
        ],
    }
