"""Review, led by the ensemble: what to look at next, twice where it matters.

The queue over cases and the strip of slices come from summaries that are made once,
when a proposal is stored. See ``docs/project.md``.
"""

from diffseg.project.review.advice import (
    Advice,
    Followed,
    advise,
    followed,
    went_to,
)
from diffseg.project.review.agreement import (
    Agreement,
    AgreementReport,
    CaseAgreement,
    Pooled,
    agreement,
    readings,
    twice_read,
)
from diffseg.project.review.consensus import METHODS, agreed_mask, save_consensus
from diffseg.project.review.proposing import (
    Proposed,
    Wish,
    propose_cases,
    request_of,
)
from diffseg.project.review.queue import OPEN, Queue, Waiting, queue
from diffseg.project.review.reading import (
    begin_second_reading,
    role_of,
    second_refused,
    visible_corrections,
)
from diffseg.project.review.slices import (
    LEAST,
    WRONG,
    SliceStrip,
    next_slice,
    slice_strip,
)
from diffseg.project.review.strategies import DEFAULT, ORDERS, STRATIFIED, ordered

__all__ = [
    "DEFAULT",
    "LEAST",
    "METHODS",
    "OPEN",
    "ORDERS",
    "STRATIFIED",
    "WRONG",
    "Advice",
    "Agreement",
    "AgreementReport",
    "CaseAgreement",
    "Followed",
    "Pooled",
    "Proposed",
    "Queue",
    "SliceStrip",
    "Waiting",
    "Wish",
    "advise",
    "agreed_mask",
    "agreement",
    "begin_second_reading",
    "followed",
    "next_slice",
    "ordered",
    "propose_cases",
    "queue",
    "readings",
    "request_of",
    "role_of",
    "save_consensus",
    "second_refused",
    "slice_strip",
    "twice_read",
    "visible_corrections",
    "went_to",
]
