"""What can go wrong, told in one line: what is wrong, where, what would be right."""

from __future__ import annotations


class DiffsegError(Exception):
    """Our own fault, a lost worker or exhausted memory (exit status 1)."""

    exit_status = 1


class UserError(DiffsegError):
    """The user's input cannot be used, or a resource asked for is not there.

    The message is one line that names what is wrong, where, and what would be
    right (exit status 2).
    """

    exit_status = 2


class Cancelled(DiffsegError):
    """The user stopped the work; nothing half written is left (exit status 130)."""

    exit_status = 130
