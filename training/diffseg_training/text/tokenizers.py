"""Tokenizers of the words that captions hold, as transformers reads them from a folder.

BERT's, in which every word is one token and any other word is the unknown one; and
CLIP's byte pairs, as Stable Diffusion has them, merged until every word is one token.
Neither is asked for a text with a word that was never learnt: `WordTokenizer` tells it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor

from diffseg.errors import UserError, nearest

_START, _END = "<|startoftext|>", "<|endoftext|>"
_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_ROUNDS = 100_000  # more merges than there are letters in a vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class WordTokenizer:
    """Captions to token indices; a word that is not known is an error.

    Parameters
    ----------
    inner : object
        A tokenizer of transformers.
    words : tuple of str
        All that it knows, in small letters.
    context : int
        Tokens L of a text, with those at its ends.
    """

    inner: Any
    words: tuple[str, ...]
    context: int

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token indices (n, L) int64 of n texts, padded; ``""`` is a text, too.

        Raises
        ------
        UserError
            A text holds a word that is not known, or too many of them.
        """
        for text in texts:
            unknown = self.unknown(text)
            if unknown:
                raise UserError(
                    f"word {unknown[0]!r} of text {text[:60]!r} was never learnt"
                    + (nearest(unknown[0], self.words) or f"; {len(self.words)} were")
                )
            if len(text.split()) + 2 > self.context:
                raise UserError(
                    f"text {text[:60]!r} has {len(text.split())} words; at most "
                    f"{self.context - 2} are read: say it in fewer"
                )
        ids: Tensor = self.inner(
            list(texts),
            padding="max_length",
            max_length=self.context,
            return_tensors="pt",
        ).input_ids
        return ids

    def unknown(self, text: str) -> tuple[str, ...]:
        """Words of a text that were never learnt, in their order."""
        return tuple(w for w in text.lower().split() if w not in self.words)


def bert_tokenizer(words: Sequence[str], context: int) -> WordTokenizer:
    """BERT's tokenizer whose every token is a word.

    Padding is token 0, the end of a text token 3.

    Parameters
    ----------
    words : sequence of str
        Of small letters alone, each once.
    context : int
        Tokens of a text, with those at its ends.
    """
    from transformers import BertTokenizer

    vocabulary = {word: index for index, word in enumerate([*_BERT, *words])}
    inner = BertTokenizer(vocab=vocabulary, model_max_length=context)
    return WordTokenizer(inner, tuple(words), context)


def clip_tokenizer(words: Sequence[str], context: int) -> WordTokenizer:
    """CLIP's tokenizer, whose byte pairs are merged up to whole words.

    Parameters
    ----------
    words : sequence of str
        Of small letters alone, each once.
    context : int
        Tokens of a text, with those at its ends.
    """
    from transformers import CLIPTokenizer

    merges = merged_pairs(words)
    letters = sorted({letter for word in words for letter in word})
    made = [first + second for first, second in merges]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *made, _START, _END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    kind: Any = CLIPTokenizer  # whose annotation of merges is narrower than it takes
    inner = kind(vocab=vocabulary, merges=list(merges), model_max_length=context)
    return WordTokenizer(inner, tuple(words), context)


def merged_pairs(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Byte pairs merged, the most frequent first, until every word is one token.

    Sennrich et al. 2016, on a list of words; of pairs that are as frequent, the first
    in the alphabet.

    Returns
    -------
    tuple of (str, str)
        In order; a token that ends a word ends in ``</w>``.
    """
    pieces = [[*word[:-1], f"{word[-1]}</w>"] for word in words]
    merges: list[tuple[str, str]] = []
    for _ in range(_ROUNDS):
        counts: dict[tuple[str, str], int] = {}
        for word in pieces:
            for pair in pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        pieces = [_merged(word, best) for word in pieces]
    return tuple(merges)


def _merged(word: Sequence[str], pair: tuple[str, str]) -> list[str]:
    """A word's pieces with a pair joined wherever it stands, from left to right."""
    result: list[str] = []
    at = 0
    while at < len(word):
        if tuple(word[at : at + 2]) == pair:
            result.append(pair[0] + pair[1])
            at += 2
        else:
            result.append(word[at])
            at += 1
    return result
