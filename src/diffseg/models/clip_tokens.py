"""Words for CLIP: open_clip's tokenizers, which never cut a text or pass over a word.

open_clip's own vocabulary is one of bytes, so that it takes anything; of a word of
which no letter is in it, only loose bytes are left. BERT's vocabulary has a token for
what it does not know. Either is told here instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from diffseg.errors import UserError

VOCABULARIES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
)
"""Files that a tokenizer of transformers may have its words from."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipTokenizer:
    """Texts to the token indices that a text tower reads.

    Parameters
    ----------
    inner : object
        open_clip's `SimpleTokenizer` or `HFTokenizer`.
    context_length : int
        Tokens L of a text, with those at its ends.
    """

    inner: Any
    context_length: int

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token indices (n, L) int64 of n texts, padded.

        Raises
        ------
        UserError
            There is none, or one is empty or longer than the text tower reads.
        """
        if not texts:
            raise UserError("no text is given; CLIP needs at least one")
        for text in texts:
            if not text.strip():
                raise UserError("a text is empty; say in words what is looked for")
            if (count := self.length(text)) > self.context_length:
                raise UserError(
                    f"text {text[:60]!r} is {count} tokens long; this CLIP reads "
                    f"{self.context_length}: say it in fewer words"
                )
        tokens: Tensor = self.inner(list(texts), context_length=self.context_length)
        return tokens

    def length(self, text: str) -> int:
        """Tokens of a text, with those at its ends, before anything is cut."""
        if self._of_bert:
            return len(self.inner.tokenizer(self.inner.clean_fn(text)).input_ids)
        return len(self.inner.encode(text)) + 2

    def unknown(self, text: str) -> tuple[str, ...]:
        """Words of a text that are not in the vocabulary, in their order."""
        words = dict.fromkeys(text.split())
        return tuple(word for word in words if not self._known(word))

    @property
    def _of_bert(self) -> bool:
        return hasattr(self.inner, "tokenizer")

    def _known(self, word: str) -> bool:
        if self._of_bert:
            inner = self.inner.tokenizer
            cleaned = self.inner.clean_fn(word)
            found = inner(cleaned, add_special_tokens=False).input_ids
            return bool(found) and inner.unk_token_id not in found
        pieces = [self.inner.decoder[token] for token in self.inner.encode(word)]
        return bool(pieces) and all(map(self._whole, pieces))

    def _whole(self, piece: str) -> bool:
        """Whether a token stands for whole letters, not for bytes of one."""
        letters = piece.removesuffix("</w>")
        try:
            bytes(self.inner.byte_decoder[letter] for letter in letters).decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True


def tokenizer_of(text_config: dict[str, Any], folder: Path | None) -> ClipTokenizer:
    """Make the tokenizer that a model's configuration asks for; nothing is fetched.

    Parameters
    ----------
    text_config : dict
        ``text_cfg`` of open_clip's configuration.
    folder : path or None
        Where a tokenizer of transformers lies.

    Raises
    ------
    UserError
        It needs a tokenizer of transformers, and `folder` holds none.
    """
    from open_clip.tokenizer import (  # type: ignore[import-untyped]
        DEFAULT_CONTEXT_LENGTH,
        HFTokenizer,
        SimpleTokenizer,
    )

    length = int(text_config.get("context_length") or DEFAULT_CONTEXT_LENGTH)
    options = dict(text_config.get("tokenizer_kwargs") or {})
    name = text_config.get("hf_tokenizer_name") or text_config.get("hf_model_name")
    if not name:
        inner = SimpleTokenizer(context_length=length, **options)
        known = int(text_config.get("vocab_size", inner.vocab_size))
        if known < inner.vocab_size:
            raise UserError(
                f"its text tower knows {known} tokens, open_clip's tokenizer has "
                f"{inner.vocab_size}: its own tokenizer is not told"
            )
        return ClipTokenizer(inner, length)
    mode = text_config.get("tokenizer_mode")
    if folder is None or mode:
        raise UserError(f"its tokenizer {name} (mode {mode}) is not supported")
    # transformers takes a folder without words for a vocabulary of none.
    if not any((folder / file).is_file() for file in VOCABULARIES):
        raise UserError(
            f"{folder} holds no words of its tokenizer; put vocab.txt or "
            f"tokenizer.json of {name} there"
        )
    try:
        inner = HFTokenizer(
            str(folder), context_length=length, local_files_only=True, **options
        )
    except Exception as err:  # whatever transformers raises of files it cannot use
        said = " ".join(f"{err}".split())[:120]
        raise UserError(
            f"{folder} holds no tokenizer that transformers reads ({said}); get that "
            f"of {name} again"
        ) from None
    return ClipTokenizer(inner, length)
