"""The user's settings, from napari's Preferences; environment variables go before."""

from __future__ import annotations

import os
from dataclasses import dataclass

PLUGIN = "napari-diffseg"


@dataclass(frozen=True, slots=True)
class Settings:
    """What *Preferences > DiffSeg* holds.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
    engine : str
        ``local``, or a scheduler's address.
    """

    device: str = "auto"
    engine: str = "local"


def read_settings() -> Settings:
    """The settings as Preferences show them."""
    from napari.settings import get_plugin_settings

    models = get_plugin_settings(PLUGIN).models
    return Settings(models.device, models.engine.strip() or "local")


def into_environment(settings: Settings) -> None:
    """Hand `settings` on as environment variables that are not set yet.

    The engine, its worker and every command read those; what the user set there
    is left alone.
    """
    wanted = {
        "DIFFSEG_DEVICE": settings.device if settings.device != "auto" else "",
        "DIFFSEG_ENGINE": settings.engine if settings.engine != "local" else "",
    }
    for name, value in wanted.items():
        if value and not os.environ.get(name):
            os.environ[name] = value
