"""Settings of learning images and texts in one space, from captions."""

from __future__ import annotations

from typing import Literal

from diffseg_training.text.caption_settings import CaptionSettings


class Settings(CaptionSettings):
    """What captions say."""

    name: Literal["contrastive_captions"] = "contrastive_captions"
