"""What a request to a model that reads words looks for; loads without torch."""

from __future__ import annotations

from diffseg.domain import ModelCard, Request
from diffseg.domain.asking import Asked
from diffseg.domain.vocabulary import vocabulary_of
from diffseg.errors import UserError


def asked_by(card: ModelCard, request: Request) -> Asked:
    """Find out what a request looks for.

    Raises
    ------
    UserError
        The text or the card is none that can be used.
    """
    known = vocabulary_of(card)
    if known is None:
        raise UserError(f"model {card.id} (method {card.method}) has no words")
    return known.asked(request.text, request.labels, request.slice_labels)
