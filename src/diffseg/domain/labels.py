"""Names, values and colours of structures, and what an annotator says is present."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, Field, model_validator

from diffseg.errors import UserError


class Label(BaseModel):
    """One structure: its name, its value in a mask, its colour, its code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, title="Name")
    value: int = Field(ge=1, le=255, title="Value in the mask")
    color: str = Field("#E69F00", pattern=r"^#[0-9A-Fa-f]{6}$", title="Colour")
    code: str | None = Field(
        None, title="Terminology code", description="scheme:value, as SCT:114248005"
    )


class LabelTable(BaseModel):
    """The structures a mask can hold, in order of their class index.

    Class index `i` (0-based, background left out) is ``labels[i]``; its voxels
    carry ``labels[i].value``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[Label, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _distinct(self) -> LabelTable:
        for what in ("name", "value"):
            seen = [getattr(label, what) for label in self.labels]
            if len(set(seen)) != len(seen):
                raise ValueError(f"two labels share one {what}: {seen}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the structures, in order of class index."""
        return tuple(label.name for label in self.labels)

    @property
    def values(self) -> tuple[int, ...]:
        """Mask values of the structures, in order of class index."""
        return tuple(label.value for label in self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def each(self) -> Iterator[Label]:
        """Labels in order of class index."""
        return iter(self.labels)

    def index(self, name: str) -> int:
        """Class index of a structure; `UserError` lists the known names."""
        if name not in self.names:
            known = ", ".join(self.names)
            raise UserError(f"label {name!r} is not one the model knows: {known}")
        return self.names.index(name)


class Presence(Enum):
    """What an annotator says of a structure in an image."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class ImageLabels(Mapping[str, Presence]):
    """Image-level labels: for each named structure present, absent or unknown.

    A structure that is not named is unknown. Immutable.

    Examples
    --------
    >>> ImageLabels.parse("anterior,posterior=absent")["posterior"]
    <Presence.ABSENT: 'absent'>
    """

    __slots__ = ("_states",)

    def __init__(self, states: Mapping[str, Presence] | None = None) -> None:
        self._states = MappingProxyType(dict(states or {}))

    @classmethod
    def parse(cls, text: str | Iterable[str]) -> ImageLabels:
        """Read ``NAME[=present|absent|unknown],...``, as on the command line."""
        parts = text.split(",") if isinstance(text, str) else list(text)
        states: dict[str, Presence] = {}
        for part in (p.strip() for p in parts):
            if not part:
                continue
            name, _, state = part.partition("=")
            try:
                presence = Presence(state.strip() or "present")
            except ValueError:
                raise UserError(
                    f"label {part!r}: after '=' comes present, absent or unknown"
                ) from None
            if states.setdefault(name.strip(), presence) is not presence:
                raise UserError(f"label {name.strip()!r} is given two states")
        return cls(states)

    def checked(self, table: LabelTable) -> ImageLabels:
        """Return these labels, or raise `UserError` for a name not in `table`."""
        for name in self._states:
            table.index(name)
        return self

    def __getitem__(self, name: str) -> Presence:
        return self._states.get(name, Presence.UNKNOWN)

    def __contains__(self, name: object) -> bool:
        return name in self._states

    def __iter__(self) -> Iterator[str]:
        return iter(self._states)

    def __len__(self) -> int:
        return len(self._states)

    def __repr__(self) -> str:
        states = ", ".join(f"{k}={v.value}" for k, v in self._states.items())
        return f"ImageLabels({states})"

    def __reduce__(self) -> tuple[type[ImageLabels], tuple[dict[str, Presence]]]:
        return (ImageLabels, (dict(self._states),))
