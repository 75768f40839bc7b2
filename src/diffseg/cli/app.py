"""The command, assembled from entry points, and its contract about failures."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from operator import methodcaller
from typing import Annotated, Any, TextIO

import typer

from diffseg.cli.output import held_streams
from diffseg.errors import Cancelled, DiffsegError, UserError, exhausted, written_to_log

GROUP = "diffseg.commands"
# Typer carries its own click since 0.26 and used the public one before; this
# finds the parser's error class in both.
ParserError: type[Exception] = typer.BadParameter.__mro__[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``diffseg ARGV`` and return its exit status.

    0 done; 1 our fault, a lost worker or exhausted memory; 2 the user's input or a
    resource asked for that is not there; 130 cancelled. With 1 or 2, standard
    output is empty and standard error is one line.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        with held_streams():
            return _run(args)
    except BrokenPipeError:
        # The reader of a pipe left early; Python would complain again at exit.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        return 1
    except BaseException as error:
        if isinstance(error, (SystemExit, GeneratorExit)):
            raise
        return _fail(_title(args), error, sys.stderr)


def commands() -> dict[str, EntryPoint]:
    """Every registered subcommand by name, in alphabetical order, not loaded."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return dict(sorted(found.items()))


def assemble(
    entries: Iterable[EntryPoint],
    load: Callable[[EntryPoint], Any] = methodcaller("load"),
) -> typer.Typer:
    """Make the typer app of `entries`: functions, or `typer.Typer` groups.

    Only what is in `entries` is imported, by `load`.
    """
    app = typer.Typer(
        name="diffseg", add_completion=False, pretty_exceptions_enable=False
    )
    app.callback(help=_ABOUT)(_options)
    for entry in entries:
        command = load(entry)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)
    return app


_ABOUT = """Diffusion ensembles for medical segmentation: volumes in, proposals out.

Example: diffseg propose case.nii.gz --model hippocampus-mri --out out
"""


def _show_version(asked: bool) -> None:
    if asked:
        from diffseg import __version__

        typer.echo(f"diffseg {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a subcommand."""


def _run(args: list[str]) -> int:
    known = commands()
    named = next((arg for arg in args if not arg.startswith("-")), None)
    if named is not None and named not in known:
        raise UserError(_no_such(f"there is no command {named!r}", known))
    if not args:
        raise UserError(_no_such("no command is given", known))
    # Only the command named is imported; a page of help shows them all.
    if named is not None:
        app = assemble([known[named]])
    else:
        app = assemble(known.values() if "--help" in args else (), _load_to_list)
    command: Callable[..., Any] = typer.main.get_command(app)
    status = command(args=args, prog_name="diffseg", standalone_mode=False)
    if status == 130:  # what typer makes of Ctrl-C
        raise KeyboardInterrupt
    return status if isinstance(status, int) else 0


def _load_to_list(entry: EntryPoint) -> Any:
    """Load a command for the page of help, which one broken package must not end."""
    try:
        return entry.load()
    except Exception as error:

        def broken() -> None: ...

        broken.__doc__ = f"Cannot be loaded: {type(error).__name__}."
        return broken


def _no_such(what: str, known: Iterable[str]) -> str:
    return f"{what}; choose one of {', '.join(known)}; see diffseg --help"


def _title(args: Sequence[str]) -> str:
    named = next((arg for arg in args if not arg.startswith("-")), None)
    return f"diffseg {named}" if named in commands() else "diffseg"


def _fail(title: str, error: BaseException, err: TextIO) -> int:
    """Say `error` in one line and return its exit status."""
    status, message = _verdict(title, error)
    err.write(" ".join(f"{message}".split()) + "\n")
    err.flush()
    return status


def _verdict(title: str, error: BaseException) -> tuple[int, str]:
    if isinstance(error, (KeyboardInterrupt, Cancelled, typer.Abort)):
        return 130, f"{title}: cancelled"
    if isinstance(error, ParserError):
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else title
        said = getattr(error, "format_message", error.__str__)().rstrip(". ")
        listed = getattr(getattr(context, "command", None), "list_commands", None)
        below = listed(context) if listed is not None else ()
        if below and (not said or said == "Missing command"):
            said = f"no command is given; choose one of {', '.join(sorted(below))}"
        return 2, f"{where}: {said}; see {where} --help"
    if isinstance(error, DiffsegError):
        hint = f" ({error.option})" if error.option else ""
        return error.exit_status, f"{title}: {error}{hint}"
    if exhausted(error):
        hint = "give a smaller --roi, fewer --members or --device cpu"
        return 1, f"{title}: the memory is exhausted; {hint}"
    said = f"{type(error).__name__}: {error}"
    return 1, f"{title}: our fault, {said}; {written_to_log(title, error)}"
