"""What a request to a model that reads words looks for; loads without torch."""

from __future__ import annotations

from diffseg.domain import ModelCard, Request
from diffseg.domain.asking import Asked, asked_of
from diffseg.domain.diclip import METHOD, diclip_config
from diffseg.domain.slice_labels import PRESENT
from diffseg.errors import UserError


def asked_by(card: ModelCard, request: Request) -> Asked:
    """Find out what a request looks for.

    Raises
    ------
    UserError
        The text or the card is none that can be used.
    """
    config = diclip_config(card.network, f"model {card.id}")
    said, marked = request.slice_labels, []
    if said is not None:
        marked = [name for name in said.names if (said.of(name) == PRESENT).any()]
    return asked_of(
        card.labels.names, config.words.book, request.text, request.labels, marked
    )


def check_asked(card: ModelCard, request: Request) -> None:
    """Refuse a text that says nothing to a model of our own, before it is loaded."""
    if card.method != METHOD:
        return
    asked_by(card, request)
    most = len(diclip_config(card.network, f"model {card.id}").timesteps)
    if request.steps is not None and request.steps > most:
        raise UserError(
            f"steps is {request.steps}, but model {card.id} looks at {most} timesteps: "
            f"give 1 to {most}"
        )
