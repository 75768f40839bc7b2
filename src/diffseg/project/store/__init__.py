"""The project store: cases, labels, proposals, corrections and reviews, kept safe.

A project is a folder: ``project.json`` says what it is, ``project.db`` (or a
PostgreSQL database) holds the rows, ``masks/`` the voxels. See ``docs/project.md``.
"""

from diffseg.project.store.auditing import add_note, audit
from diffseg.project.store.cases import (
    Addition,
    SourceChanged,
    add_case,
    add_cases,
    case_of,
    find_case,
    open_source,
    relink_case,
    source_state,
)
from diffseg.project.store.checking import Finding, Health, Trouble, check, check_folder
from diffseg.project.store.corrections import (
    add_correction,
    correction_of,
    corrections_of,
    newest_correction,
    read_correction,
    read_touched,
)
from diffseg.project.store.database import DamagedProject
from diffseg.project.store.exports import (
    export_cases,
    has_mask,
    reviewed_voxels,
    with_masks,
)
from diffseg.project.store.labelling import (
    image_labels_of,
    redo_label,
    set_label,
    set_labels,
    statements_of,
    strips_of,
    undo_label,
)
from diffseg.project.store.leases import Leased, holder_of, release_lease, take_lease
from diffseg.project.store.listing import ORDERS, list_cases, state_counts
from diffseg.project.store.models import (
    Outcome,
    TrainingRun,
    UsedModel,
    begin_run,
    end_run,
    models_used,
    new_run_id,
    resume_run,
    training_runs,
)
from diffseg.project.store.nouns import (
    Case,
    ClassCount,
    Correction,
    Entry,
    Lease,
    Line,
    Page,
    Review,
    Role,
    State,
    Statement,
    StoredProposal,
)
from diffseg.project.store.project import Project, create_project, open_project
from diffseg.project.store.proposals import (
    add_proposal,
    measured,
    proposal_of,
    proposals_of,
    provenance_of,
    read_maps,
    read_proposed,
)
from diffseg.project.store.recovering import Recovery, recover
from diffseg.project.store.reviewing import (
    review_of,
    seen_slices,
    set_review,
    tick_slices,
)
from diffseg.project.store.slice_labels import slice_labels_of
from diffseg.project.store.standing import (
    Standing,
    Standings,
    slices_of,
    standings,
    summarise,
)
from diffseg.project.store.strips import CODES, Strip, strip_of
from diffseg.project.store.summaries import Summary
from diffseg.project.store.tables import label_table, set_label_table

__all__ = [
    "CODES",
    "ORDERS",
    "Addition",
    "Case",
    "ClassCount",
    "Correction",
    "DamagedProject",
    "Entry",
    "Finding",
    "Health",
    "Lease",
    "Leased",
    "Line",
    "Outcome",
    "Page",
    "Project",
    "Recovery",
    "Review",
    "Role",
    "SourceChanged",
    "Standing",
    "Standings",
    "State",
    "Statement",
    "StoredProposal",
    "Strip",
    "Summary",
    "TrainingRun",
    "Trouble",
    "UsedModel",
    "add_case",
    "add_cases",
    "add_correction",
    "add_note",
    "add_proposal",
    "audit",
    "begin_run",
    "case_of",
    "check",
    "check_folder",
    "correction_of",
    "corrections_of",
    "create_project",
    "end_run",
    "export_cases",
    "find_case",
    "has_mask",
    "holder_of",
    "image_labels_of",
    "label_table",
    "list_cases",
    "measured",
    "models_used",
    "new_run_id",
    "newest_correction",
    "open_project",
    "open_source",
    "proposal_of",
    "proposals_of",
    "provenance_of",
    "read_correction",
    "read_maps",
    "read_proposed",
    "read_touched",
    "recover",
    "redo_label",
    "release_lease",
    "relink_case",
    "resume_run",
    "review_of",
    "reviewed_voxels",
    "seen_slices",
    "set_label",
    "set_label_table",
    "set_labels",
    "set_review",
    "slice_labels_of",
    "slices_of",
    "source_state",
    "standings",
    "state_counts",
    "statements_of",
    "strip_of",
    "strips_of",
    "summarise",
    "take_lease",
    "tick_slices",
    "training_runs",
    "undo_label",
    "with_masks",
]
