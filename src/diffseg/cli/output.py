"""What a command says: one result on standard output, progress on standard error.

While a command runs, both standard streams are held: libraries print where they
like, but only what was handed to `emit` reaches the user, and only at success.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from diffseg.errors import UserError
from diffseg.progress import Progress, Work, run

if TYPE_CHECKING:
    from rich.console import RenderableType

Result = TypeVar("Result")
WIDTH_ELSEWHERE = 100  # columns, where standard output is not a terminal


@dataclass(frozen=True, slots=True)
class Streams:
    """The user's own streams, and the results that wait for the command's end."""

    out: TextIO
    err: TextIO
    results: list[str] = field(default_factory=list)


_STREAMS: ContextVar[Streams | None] = ContextVar("diffseg_streams", default=None)


class _Held(io.StringIO):
    """Text held back, which looks like a terminal where `real` is one."""

    def __init__(self, real: TextIO) -> None:
        super().__init__()
        self._real = real

    def isatty(self) -> bool:
        return is_terminal(self._real)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person watches `stream`; a closed or absent one has nobody."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


@contextlib.contextmanager
def held_streams() -> Iterator[Streams]:
    """Hold both standard streams; yield the real ones, and print results at the end.

    Python's and native code's writes to standard error, and Python's warnings, are
    dropped: they belong to libraries and may name a patient's files. Nothing is
    printed when the block raises.
    """
    with _kept_standard_error() as err, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        streams = Streams(sys.stdout, err)
        held = _Held(streams.out)
        token = _STREAMS.set(streams)
        try:
            with (
                contextlib.redirect_stdout(held),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                yield streams
        finally:
            _STREAMS.reset(token)
    # A command that emitted nothing was a page of help, which typer prints itself.
    streams.out.write("".join(streams.results) or held.getvalue())
    streams.out.flush()


@contextlib.contextmanager
def _kept_standard_error() -> Iterator[TextIO]:
    """Send the process's descriptor 2 nowhere; yield the user's standard error.

    Readers and torch write their warnings there from native code, where Python's
    redirection does not reach.
    """
    try:
        number = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        number = -1  # captured or absent: nothing of ours runs on descriptor 2
    if number != 2:
        yield sys.stderr
        return
    kept = os.dup(2)
    with (
        os.fdopen(kept, "w", encoding=sys.stderr.encoding, errors="replace") as err,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
    ):
        sys.stderr.flush()
        os.dup2(nowhere.fileno(), 2)
        try:
            yield err
        finally:
            err.flush()
            os.dup2(err.fileno(), 2)


def jsonable(value: Any) -> Any:
    """Plain JSON types of `value`; NaN and infinities, which JSON lacks, are None."""
    if hasattr(value, "model_dump"):
        return jsonable(value.model_dump())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in dataclasses.fields(value)]
        return {name: jsonable(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def emit(
    result: Mapping[str, Any],
    as_json: bool,
    text: Callable[[], RenderableType] | RenderableType = "",
) -> None:
    """Say a command's result: one JSON object, or `text` for a person.

    Parameters
    ----------
    result : mapping
        What ``--json`` prints, on one line; NaN becomes null.
    as_json : bool
        Whether the user asked for JSON.
    text : str or rich renderable, or a function that makes one
        What is printed without ``--json``. Made only then.
    """
    if as_json:
        said = json.dumps(jsonable(result), allow_nan=False) + "\n"
    else:
        said = rendered(text() if callable(text) else text)
    streams = _STREAMS.get()
    if streams is None:  # called outside a command, as from a notebook
        sys.stdout.write(said)
    else:
        streams.results.append(said)


def rendered(text: RenderableType) -> str:
    """`text` as the user's standard output shows it, coloured on a terminal."""
    from rich.console import Console

    streams = _STREAMS.get()
    out = sys.stdout if streams is None else streams.out
    terminal = is_terminal(out)
    console = Console(
        file=io.StringIO(),
        force_terminal=terminal,
        width=None if terminal else WIDTH_ELSEWHERE,
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as capture:
        console.print(text, soft_wrap=isinstance(text, str))
    said = capture.get()
    return said if terminal else "\n".join(map(str.rstrip, said.split("\n")))


def confirmed(question: str) -> bool:
    """Ask a person to answer yes or no, on standard error; no is the default.

    Raises
    ------
    UserError
        Nobody is there to answer.
    """
    streams = _STREAMS.get()
    err = sys.stderr if streams is None else streams.err
    if not (is_terminal(err) and is_terminal(sys.stdin)):
        raise UserError("nobody is here to be asked; agree beforehand", option="--yes")
    err.write(f"{question} [y/N] ")
    err.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def follow(work: Work[Result]) -> Result:
    """Run `work` to its end and return its result, showing progress to a person.

    Progress goes to standard error and only where that is a terminal. Whatever
    ends the work early, Ctrl-C included, closes the generator, which cancels it.
    """
    streams = _STREAMS.get()
    err = sys.stderr if streams is None else streams.err
    try:
        if not is_terminal(err):
            return run(work)
        with _progress_bar(err) as show:
            return run(work, show)
    finally:
        work.close()


@contextlib.contextmanager
def _progress_bar(err: TextIO) -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[message]}"),
        TimeElapsedColumn(),
        console=Console(file=err, force_terminal=True, markup=False),
        transient=True,
    )
    with bar:
        task = bar.add_task("start", total=None, message="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.done + progress.under_way,
                total=progress.total or None,
                message=", ".join(filter(None, (progress.message, progress.detail))),
            )

        yield show
