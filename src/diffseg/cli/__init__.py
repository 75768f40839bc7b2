"""The command ``diffseg``: assembled from entry points, one file a subcommand.

Subcommands import what they need inside their functions, so that ``--help`` and
``diffseg info`` load neither torch nor one another.
"""

from __future__ import annotations

from diffseg.cli.app import main
from diffseg.cli.output import emit, follow

__all__ = ["emit", "follow", "main"]
