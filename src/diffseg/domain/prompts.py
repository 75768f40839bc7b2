"""Words for what is looked for, and for what else there is; loads without torch.

A prompt book is a YAML file: templates such as ``an MRI scan showing {}.``, for each
class the words that mean it, and words for the background. One ships for each kind of
image; a user's own file is laid over it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from diffseg.errors import UserError, nearest
from diffseg.resources import resource

_KEYS = ("title", "templates", "classes", "background")
_PLACE = "{}"


@dataclass(frozen=True, slots=True)
class PromptBook:
    """Templates and words for one kind of image.

    Parameters
    ----------
    templates : tuple of str
        Each with ``{}`` once, where a word is put.
    classes : mapping of str to tuple of str
        What means each class, by its name in small letters; the name itself is not
        among them unless it is said.
    background : tuple of str
        What else such images show.
    """

    templates: tuple[str, ...]
    classes: Mapping[str, tuple[str, ...]]
    background: tuple[str, ...]

    def over(self, below: PromptBook) -> PromptBook:
        """Lay this book over another: what it says of a class or a list stands."""
        return PromptBook(
            self.templates or below.templates,
            {**below.classes, **self.classes},
            self.background or below.background,
        )


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is asked of an image with these classes.

    Parameters
    ----------
    names : tuple of str
        Classes K, as they were asked for.
    words : tuple of tuple of str
        For each class what means it, at least one each.
    background : tuple of str
        Words for all else, none of them a class's.
    templates : tuple of str
        Each with ``{}`` once.
    """

    names: tuple[str, ...]
    words: tuple[tuple[str, ...], ...]
    background: tuple[str, ...]
    templates: tuple[str, ...]

    def texts(self, word: str) -> list[str]:
        """The sentences in which a word is shown, one for each template."""
        return [template.replace(_PLACE, word) for template in self.templates]


def prompt_kinds() -> tuple[str, ...]:
    """Kinds of images that a prompt book ships for."""
    return tuple(sorted(file.stem for file in resource("prompts").glob("*.yaml")))


def shipped_prompts(kind: str) -> PromptBook:
    """Read the prompt book that ships for a kind of image.

    Raises
    ------
    UserError
        None ships for it; the message lists those that do.
    """
    known = prompt_kinds()
    if kind not in known:
        raise UserError(
            f"no prompts ship for images of kind {kind!r}{nearest(kind, known)}; there "
            f"are: {', '.join(known)}"
        )
    return read_prompts(resource("prompts", f"{kind}.yaml"))


def read_prompts(path: str | Path) -> PromptBook:
    """Read a prompt book; every part of it may be left out.

    Raises
    ------
    UserError
        The file cannot be read, is no YAML table, has an unknown key, or a template, a
        class or a list of words in it says nothing.
    """
    file = Path(path).expanduser()
    content = _table(file)
    unknown = [key for key in content if key not in _KEYS]
    if unknown:
        raise UserError(
            f"prompts {file}: key {unknown[0]!r} is not known"
            f"{nearest(str(unknown[0]), _KEYS)}; there are: {', '.join(_KEYS)}"
        )
    templates = _words(file, "templates", content.get("templates") or [])
    for template in templates:
        if template.count(_PLACE) != 1 or set("{}") & set(template.replace(_PLACE, "")):
            raise UserError(
                f"prompts {file}: template {template!r} must have {_PLACE} once, where "
                "the word is put"
            )
    told = content.get("classes") or {}
    if not isinstance(told, dict):
        raise UserError(f"prompts {file}: classes must be a table of names and words")
    classes = {
        plain(str(name)): _words(file, f"class {name}", words)
        for name, words in told.items()
    }
    for name, words in classes.items():
        if not words:
            raise UserError(f"prompts {file}: class {name!r} has no word; give one")
    background = _words(file, "background", content.get("background") or [])
    return PromptBook(templates, classes, background)


def prompts_for(names: Sequence[str], book: PromptBook) -> Prompts:
    """Find the words for classes.

    A class that the book does not have is meant by its own name. A background word that
    means a class that is asked for is left out.

    Raises
    ------
    UserError
        There are no classes or no templates, a name says nothing, or one word means
        two classes.
    """
    if not names:
        raise UserError("no class is named; say what is looked for")
    if not book.templates:
        raise UserError(
            "the prompts hold no template; give one, such as 'a photo of {}.'"
        )
    words = tuple(meant(name, book) for name in names)
    owner: dict[str, str] = {}
    for name, group in zip(names, words, strict=True):
        for word in group:
            first = owner.setdefault(plain(word), name)
            if first != name:
                raise UserError(
                    f"classes {first!r} and {name!r} are both called {word!r}; no text "
                    "tells them apart: give them words of their own in a prompts file"
                )
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise UserError(f"class {twice!r} is named twice")
    background = tuple(w for w in book.background if plain(w) not in owner)
    return Prompts(tuple(names), words, background, book.templates)


def meant(name: str, book: PromptBook) -> tuple[str, ...]:
    """Words that mean a class, a book's or its name, which may say nothing."""
    said = plain(name)
    found = book.classes.get(said)
    if found is not None:
        return found
    if not re.search(r"[^\W\d_]{2}", said) or re.fullmatch(
        r"(class|label|structure|region|object|foreground) ?\d*", said
    ):
        raise UserError(
            f"class {name!r} says nothing that could be looked for; give words for it "
            f"in a prompts file, under classes: {{{name}: [...]}}"
        )
    return (said,)


def plain(word: str) -> str:
    """A word in small letters, with single spaces between its parts."""
    return " ".join(re.split(r"[\s_-]+", word.strip().casefold())).strip()


def _words(file: Path, where: str, given: Any) -> tuple[str, ...]:
    listed: Iterable[Any] = [given] if isinstance(given, str) else given
    if not isinstance(listed, list | tuple):
        raise UserError(f"prompts {file}: {where} must be a list of words")
    found: dict[str, str] = {}
    for word in listed:
        if not isinstance(word, str) or not word.strip():
            raise UserError(
                f"prompts {file}: {where} holds {word!r}, which is no word; put it "
                "in quotes if YAML takes it for something else"
            )
        found.setdefault(word.strip().casefold(), " ".join(word.split()))
    return tuple(found.values())


def _table(file: Path) -> dict[Any, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"prompts {file} are not text in UTF-8") from None
    except OSError as err:
        raise UserError(f"prompts {file} cannot be read: {err.strerror}") from None
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UserError(f"prompts {file}{line} are not YAML") from None
    if not isinstance(content, dict):
        raise UserError(f"prompts {file} are no table with {', '.join(_KEYS)}")
    return content
