"""Words as CLIP knows them: one direction a class, one each background word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffseg.domain.prompts import Prompts
from diffseg.errors import UserError
from diffseg.models.clip_tokens import ClipTokenizer
from diffseg.models.clip_weights import Clip
from diffseg.segmenters.text.similarity import mean_direction

_BATCH = 64  # texts that the text tower reads at once


@dataclass(frozen=True, slots=True, eq=False)
class TextEmbeddings:
    """Directions of classes and of background words in CLIP's space.

    Parameters
    ----------
    names : tuple of str
        Classes K.
    foreground : (K, E) float32 Tensor
        Of length 1.
    background : (M, E) float32 Tensor
        Of length 1; there may be none.
    """

    names: tuple[str, ...]
    foreground: Tensor
    background: Tensor

    @property
    def texts(self) -> Tensor:
        """Both, (K + M, E), classes first."""
        return torch.cat([self.foreground, self.background])


def embedded_prompts(
    clip: Clip,
    prompts: Prompts,
    embed: Callable[[list[str]], Tensor] | None = None,
) -> TextEmbeddings:
    """Embed the words of classes and background.

    Each word is shown in every template. A class is the mean direction over templates
    and over all that means it; a background word is one over templates alone.

    Parameters
    ----------
    clip : Clip
    prompts : Prompts
    embed : function, optional
        Embeds texts in the place of `clip`, such as one that remembers.

    Raises
    ------
    UserError
        A word is not in CLIP's vocabulary, or a text is longer than it reads.
    """
    check_words(clip.tokenizer, prompts)
    groups = [*prompts.words, *((word,) for word in prompts.background)]
    texts = [
        [text for word in group for text in prompts.texts(word)] for group in groups
    ]
    flat = list(dict.fromkeys(text for group in texts for text in group))
    parts = [
        (embed or clip.embedded_texts)(flat[start : start + _BATCH]).float()
        for start in range(0, len(flat), _BATCH)
    ]
    embedded = torch.cat(parts)
    place = {text: index for index, text in enumerate(flat)}
    found = torch.stack(
        [mean_direction(embedded[[place[text] for text in group]]) for group in texts]
    )
    count = len(prompts.names)
    return TextEmbeddings(prompts.names, found[:count], found[count:])


def check_words(tokenizer: ClipTokenizer, prompts: Prompts) -> None:
    """Refuse prompts with words that CLIP does not know.

    Raises
    ------
    UserError
        Which class or template they are in, and which they are.
    """
    shown = [
        (f"class {n!r}", w) for n, w in zip(prompts.names, prompts.words, strict=True)
    ]
    shown += [("the background", prompts.background)]
    shown += [("a template", tuple(t.replace("{}", " ") for t in prompts.templates))]
    for where, words in shown:
        unknown = tokenizer.unknown(" ".join(words))
        if unknown:
            raise UserError(
                f"words of {where} are not in this CLIP's vocabulary: "
                f"{', '.join(map(repr, unknown))}; say it in others"
            )
