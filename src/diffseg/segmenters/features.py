"""What a network knows of an image: any pytree of tensors, the batch first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffseg.networks.conditioned import Features


def mapped(function: Callable[..., Tensor], *trees: Features) -> Features:
    """Apply `function` to the tensors that stand in one place in all `trees`.

    Tuples, lists, dictionaries and dataclasses are looked into; what is neither a
    tensor nor one of these is taken from the first tree.
    """
    first = trees[0]
    if isinstance(first, Tensor):
        return function(*trees)
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        return replace(
            first,
            **{n: mapped(function, *(getattr(tree, n) for tree in trees))
               for n in names},
        )  # fmt: skip
    if isinstance(first, dict):
        return {key: mapped(function, *(tree[key] for tree in trees)) for key in first}
    if isinstance(first, tuple | list):
        made = [mapped(function, *parts) for parts in zip(*trees, strict=True)]
        named = hasattr(first, "_fields")  # a named tuple
        return type(first)(*made) if named else type(first)(made)
    return first


def tensors(tree: Features) -> Iterator[Tensor]:
    """The tensors of a tree, in order."""
    seen: list[Tensor] = []

    def see(one: Tensor) -> Tensor:
        seen.append(one)
        return one

    mapped(see, tree)
    yield from seen


def joined(trees: Sequence[Features]) -> Features:
    """Several batches as one."""
    if len(trees) == 1:
        return trees[0]
    return mapped(lambda *parts: torch.cat(parts), *trees)


def selected(tree: Features, index: Tensor) -> Features:
    """Features of the images at `index`, which may name one several times."""

    def chosen(one: Tensor) -> Tensor:
        return one[index.to(one.device)]

    return mapped(chosen, tree)


def repeated(tree: Features, count: int) -> Features:
    """Features of one image as a batch of `count`; nothing is copied."""
    if count == 1:
        return tree
    return mapped(lambda one: one.expand(count, *one.shape[1:]), tree)


def bytes_of(tree: Any) -> int:
    """Bytes of all tensors."""
    return sum(one.numel() * one.element_size() for one in tensors(tree))
