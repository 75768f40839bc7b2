"""Stands for torch in the worker of a test: loads at once, has no GPU."""

from types import SimpleNamespace

_threads = [1]


class OutOfMemoryError(RuntimeError):
    pass


class Size(tuple):
    __slots__ = ()


def set_num_threads(threads):
    _threads[0] = threads


def get_num_threads():
    return _threads[0]


version = SimpleNamespace(cuda=None, hip=None)
cuda = SimpleNamespace(is_available=lambda: False, is_initialized=lambda: False)
backends = SimpleNamespace(
    mps=SimpleNamespace(is_available=lambda: False, is_built=lambda: False)
)
