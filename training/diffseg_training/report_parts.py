"""The parts that an evaluation report is put together from, as HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from diffseg_training.evaluation_text import UNDEFINED, interval, number


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table that sorts by a number and may show it as a bar.

    Parameters
    ----------
    text : str
    value : float, optional
        What the column is sorted by; an undefined one comes last.
    bar : bool
        Whether `value`, in [0, 1], is drawn behind the text.
    """

    text: str
    value: float | None
    bar: bool = False


def scored(value: float | None, digits: int = 3, *, bar: bool = False) -> Cell:
    """Return the cell of a number."""
    return Cell(number(value, digits), value, bar and value is not None)


def estimate(
    value: float | None,
    bounds: Sequence[float] | None,
    digits: int = 3,
    *,
    signed: bool = False,
) -> str:
    """Write a number and its interval in brackets, in one line of a table."""
    text = number(value, digits, signed=signed)
    if value is None or bounds is None:
        return text
    return f"{text} ({interval(bounds, digits, signed=signed)})"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    *,
    sortable: bool = False,
) -> str:
    """Return a table whose first column is text and whose others are numbers."""
    top = "".join(f"<th>{_heading(cell, sortable)}</th>" for cell in head)
    body = "".join(f"<tr>{''.join(_cell(cell) for cell in row)}</tr>" for row in rows)
    kinds = ' class="sortable"' if sortable else ""
    return (
        f'<div class="wide"><table{kinds}><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def image(png: bytes, alt: str) -> str:
    """Return a picture that lies within the page."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def section(title: str, words: str, *content: str) -> str:
    """Return a titled box; `words` and `content` are HTML, `title` is text."""
    return (
        f"<section><h2>{escape(title)}</h2><p>{words}</p>{''.join(content)}</section>"
    )


def card(title: str, value: str, small: str) -> str:
    """Return one headline number with what stands beside it."""
    below = "&nbsp;" if small == UNDEFINED else escape(small)
    return (
        f"<div><span>{escape(title)}</span><b>{escape(value)}</b>"
        f"<small>{below}</small></div>"
    )


def _heading(text: str, sortable: bool) -> str:
    if not sortable:
        return escape(text)
    return f'<button type="button">{escape(text)}</button>'


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    value = "" if cell.value is None else f"{cell.value:.6g}"
    style = f' style="--share:{cell.value:.3f}" class="bar"' if cell.bar else ""
    return f'<td data-value="{value}"{style}>{escape(cell.text)}</td>'
