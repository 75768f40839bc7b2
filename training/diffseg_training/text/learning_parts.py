"""Sizes of DiCLIP's adapter and head, which follow from its backbones and its cache."""

from __future__ import annotations

from typing import Any

from diffseg.progress import finished
from diffseg.segmenters.diclip import Diclip
from diffseg.segmenters.text.looking import Looker
from diffseg.segmenters.text.seen import Noise, channels_shown
from diffseg_training.labelled import LabelledExample
from diffseg_training.settings.diclip import Settings


def learner_config(
    model: Diclip, config: Settings, first: LabelledExample
) -> dict[str, Any]:
    """What network diclip takes beside its name.

    Parameters
    ----------
    model : Diclip
        With a cache.
    config : Settings
    first : LabelledExample
        That CLIP looks at, to tell its layers and their width.
    """
    parts, classes = model.network, len(model.card.labels)
    assert parts.cache is not None, "a model with a cache"
    count, features = parts.cache.keys.shape
    options = parts.config
    adapter = {
        "features": int(features),
        "classes": classes,
        "keys": int(count),
        "normalisation": parts.cache.normalisation,
        "activation": options.activation,
        "sharpness": options.sharpness,
        **config.adapter.model_dump(exclude={"values"}),
    }
    plain = options.model_copy(update={"answer": "head"})
    looker = Looker(parts.clip, None, plain, model.store)
    image = first.image[:, 0].numpy()
    shown = channels_shown(image, options.shown, model.card.preparation.channels)
    raw = finished(looker.look(shown, Noise(0, 0, (0,)))).raw
    head = {
        "layers": len(raw),
        "features": int(raw[0].shape[-1]),
        "classes": classes,
        **config.head.model_dump(),
    }
    return {"adapter": adapter, "head": head}
