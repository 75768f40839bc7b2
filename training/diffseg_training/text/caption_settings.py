"""What objectives that learn from captions can be told of them."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from diffseg.errors import UserError
from diffseg_training.settings.base import ObjectiveSettings
from diffseg_training.text.picture_sets import class_names, read_sets


class CaptionSettings(ObjectiveSettings):
    """Which words captions are made of, and whether masks are asked where."""

    words: str = Field(
        "small-pair",
        title="Words of the sets",
        description="small-pair, or a YAML file as that one",
    )
    places: bool = Field(
        True,
        title="Sides and sizes in captions, from masks",
        description="Of the split train alone; without it captions tell of set and "
        "presence, which image-level labels say, too",
    )

    def check_classes(self, names: Sequence[str]) -> None:
        """Refuse a data set of other classes than captions speak of.

        Raises
        ------
        UserError
            Its classes are not those of the sets, in their order.
        """
        wanted = class_names(read_sets(self.words))
        if tuple(names) != wanted:
            raise UserError(
                f"objective {self.name} takes masks of the classes "
                f"{', '.join(wanted)}, not {', '.join(names)}: prepare a data set of "
                "several with: diffseg recipes prepare small-pair FOLDER --out DIR"
            )
