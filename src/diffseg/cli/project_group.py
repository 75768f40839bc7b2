"""Subcommands of ``diffseg project`` and ``diffseg models``: ours, and others'.

A package on top of the core adds one by an entry point of its own; it is imported
only when it is asked for, or listed on the page of help::

    [project.entry-points."diffseg.commands.project"]
    tidy = "some_package.cli.tidy:tidy"

It names a function that typer can read, as in ``diffseg.commands``, or a
`typer.Typer`. The first argument is by custom the project's folder: `Dir` of
`diffseg.cli.project_options`, where `Annotator` and `Json` are, too. Those of
``diffseg models`` are in the group ``diffseg.commands.models``.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from typer.core import TyperGroup

from diffseg.errors import UserError

GROUP = "diffseg.commands.project"
MODELS = "diffseg.commands.models"


class ProjectCommands(TyperGroup):
    """Subcommands that are ours and that other packages name, in one list."""

    outside = GROUP

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of all of them; nothing of other packages is imported."""
        ours = super().list_commands(ctx)
        return [
            *ours,
            *sorted({one.name for one in _outside(self.outside)} - set(ours)),
        ]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load a subcommand for a list of them, which a broken one must not end."""
        ours = super().get_command(ctx, cmd_name)
        found = _outside(self.outside, cmd_name)
        if ours is not None or not found:
            return ours
        try:
            return _command(found[0])
        except Exception as error:
            return _broken(cmd_name, error)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the subcommand that was asked for.

        Raises
        ------
        UserError
            It is given twice, or cannot be imported.
        """
        name = args[0]
        found, ours = _outside(self.outside, name), name in self.commands
        if found and len(found) + ours > 1:
            givers = " and ".join(one.value for one in found)
            raise UserError(
                f"subcommand {name!r} is given more than once, by {givers}"
                f"{' beside our own' if ours else ''}; uninstall one of the packages"
            )
        if not found:
            return super().resolve_command(ctx, args)
        try:
            return name, _command(found[0]), args[1:]
        except (ImportError, AttributeError) as err:
            raise UserError(
                f"subcommand {name!r} cannot be loaded from {found[0].value}: {err}"
            ) from err


class ModelsCommands(ProjectCommands):
    """As those of ``diffseg project``, of another group."""

    outside = MODELS


def _outside(group: str, name: str | None = None) -> tuple[EntryPoint, ...]:
    """What other packages name; all of it, or what they call `name`."""
    found = entry_points(group=group)
    return tuple(found if name is None else found.select(name=name))


def _command(entry: EntryPoint) -> Any:
    given = entry.load()
    if not isinstance(given, typer.Typer):
        alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        alone.command(entry.name)(given)
        given = alone
    command: Any = typer.main.get_command(given)
    command.name = entry.name
    return command


def _broken(name: str, error: Exception) -> Any:
    def broken() -> None: ...

    broken.__doc__ = f"Cannot be loaded: {type(error).__name__}."
    alone = typer.Typer(add_completion=False)
    alone.command(name)(broken)
    return typer.main.get_command(alone)
