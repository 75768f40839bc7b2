"""What the two backbones see of a slice; what was seen before is not computed again.

CLIP's patches, a diffusion model's attention in them, and what the refinements need.
Nothing here knows what is looked for: words come later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from diffseg.diffusion.attention_clustering import Refinement
from diffseg.domain.diclip import DiclipConfig
from diffseg.errors import UserError
from diffseg.models.clip_weights import Clip
from diffseg.models.text_diffusion import TextDiffusion
from diffseg.networks.clip_streams import ClipStreams, clip_streams
from diffseg.networks.clip_towers import tower_of
from diffseg.segmenters.text.affinity import mean_affinity
from diffseg.segmenters.text.enhancement import (
    Correlation,
    Enhancement,
    enhance,
    seen_size,
)
from diffseg.segmenters.text.feature_store import (
    FeatureStore,
    as_tensor,
    content_of,
)
from diffseg.segmenters.text.seen import Noise, Seen, fitting_size

Key = dict[str, Any]
Looking = Generator[None, None, Seen]


class Looker:
    """Looks at slices with the backbones of a model.

    Parameters
    ----------
    clip : Clip
    diffusion : TextDiffusion or None
    config : DiclipConfig
    store : FeatureStore
    """

    def __init__(
        self,
        clip: Clip,
        diffusion: TextDiffusion | None,
        config: DiclipConfig,
        store: FeatureStore,
    ) -> None:
        self._clip, self._diffusion = clip, diffusion
        self._config, self.store = config, store
        self._attended = 0
        if "affinity" in config.refinement and config.answer == "maps":
            depth = tower_of(clip.visual).depth
            self._attended = min(config.affinity_layers, depth)
        self.groups_side = round(config.groups**0.5) if config.rounds else 1

    def shown(self, image: Tensor) -> Tensor:
        """A slice (C, Y, X) in [0, 1] as both are shown it, (1, C, Y', X')."""
        extent = (image.shape[1], image.shape[2])
        size = fitting_size(
            extent, self._config.side, self._clip.patch, self.groups_side
        )
        if size == extent:
            return image[None]
        return functional.interpolate(
            image[None], size, mode="bilinear", antialias=True
        ).clamp(0, 1)

    def look(self, image: Tensor, noise: Noise) -> Looking:
        """Look at a slice; yields None where work can be broken off.

        Parameters
        ----------
        image : (C, Y, X) float32 Tensor
            In [0, 1], C being 1 or 3.
        noise : Noise

        Returns
        -------
        Seen
            On the CLIP's device.

        Raises
        ------
        UserError
            The options do not fit the backbones.
        """
        config = self._config
        shown = self.shown(image)
        patch = self._clip.patch
        grid = (shown.shape[2] // patch[0], shown.shape[3] // patch[1])
        about: Key = {"image": content_of(shown), "device": self._clip.device.type}
        attention = self._attention_key(about, shown, grid, noise)
        streams = {**self._streams_key(about), "attention": None}
        if config.joins and config.answer == "maps":
            streams["attention"] = attention
        fine_wanted = "diffusion" in config.refinement and config.answer == "maps"
        kept = self.store.get(streams)
        fine = self.store.get({"fine": attention}) if fine_wanted else None
        found: Correlation | None = None
        if (kept is None and streams["attention"]) or (fine_wanted and fine is None):
            both = fine_wanted and fine is None
            found = self._correlation(attention, shown, grid, noise, both)
            yield None
        if kept is None:
            kept = self._streams(shown, found if streams["attention"] else None)
            self.store.put(streams, kept)
            yield None
        if fine_wanted and fine is None:
            assert found is not None
            assert found.fine is not None
            assert found.fine_grid is not None
            fine = {"map": found.fine, "grid": as_tensor(found.fine_grid)}
            self.store.put({"fine": attention}, fine)
        return self._seen(kept, fine, grid)

    def _attention_key(
        self, about: Key, shown: Tensor, grid: tuple[int, int], noise: Noise
    ) -> Key | None:
        model = self._diffusion
        if model is None or not self._config.looks_at_diffusion:
            return None
        settings = self._settings(shown, noise)
        return {
            **about,
            "diffusion": model.identity,
            "grid": grid,
            "settings": dataclasses.asdict(settings),
            "size": seen_size(model, shown, settings),
            "noise": [noise.seed, noise.member, self._config.draws],
        }

    def _settings(self, shown: Tensor, noise: Noise) -> Enhancement:
        config, model = self._config, self._diffusion
        assert model is not None
        size = None
        if config.seen is not None:
            extent = (shown.shape[2], shown.shape[3])
            size = fitting_size(extent, config.seen, (model.factor, model.factor))
        return Enhancement(
            variant=config.attention,
            layers=config.attention_layers,
            size=size,
            timesteps=noise.timesteps,
            refinement=Refinement(
                groups=config.groups,
                stepped=config.stepped,
                lloyd=config.lloyd,
                threshold=config.threshold,
                rounds=config.rounds,
                spread=config.spread,
            ),
            fine="diffusion" in config.refinement,
            fine_heads=config.fine_heads,
        )

    def _streams_key(self, about: Key) -> Key:
        config = self._config
        return {
            **about,
            "clip": self._clip.identity,
            "layers": config.layers,
            "weight": config.weight,
            "fusion": str(config.fusion),
            "streams": config.streams,
            "affinity": [self._attended, config.affinity_by_heads],
            "raw": config.answer == "head",
        }

    def _correlation(
        self,
        key: Key | None,
        shown: Tensor,
        grid: tuple[int, int],
        noise: Noise,
        fine: bool,
    ) -> Correlation:
        """Attention of the diffusion model; its coarse part is kept for other options.

        Where the finest is wanted and is not there, all of it is computed.
        """
        model = self._diffusion
        if model is None or key is None:
            raise UserError("there is no text-to-image model to look at the image with")
        if not fine:
            kept = self.store.get({"refined": key})
            if kept is not None:
                refined = kept["refined"].to(model.device)
                return Correlation(refined, refined)
        settings = self._settings(shown, noise)
        drawn = noise.drawn(
            model.latent_shape(seen_size(model, shown, settings)), self._config.draws
        )
        found = enhance(model, shown, grid, drawn, settings)
        self.store.put({"refined": key}, {"refined": found.refined})
        return found

    @torch.no_grad()
    def _streams(self, shown: Tensor, found: Correlation | None) -> dict[str, Tensor]:
        config = self._config
        streams: ClipStreams = clip_streams(
            self._clip.visual,
            self._clip.normalised(shown),
            layers=config.layers,
            attention=None if found is None else found.refined.to(self._clip.device),
            weight=config.weight if found is not None else 0.0,
            fusion=config.fusion if found is not None else "clip",
            streams=config.streams,
            raw=config.answer == "head",
            attended=self._attended,
        )
        kept = {"patches": streams.patches.float(), "class": streams.class_token}
        if self._attended:
            shares = self._shares()
            mean = mean_affinity(streams.patch_attention, shares)
            kept["affinity"] = mean.float()
        kept |= {f"raw{i}": one.float() for i, one in enumerate(streams.raw)}
        return kept

    def _shares(self) -> list[float]:
        """Weight of each layer whose attention is kept."""
        shares = [1.0] * self._attended
        if self._config.affinity_by_heads:
            clip = self._clip
            tower = tower_of(clip.visual)
            nothing = clip.normalised(torch.zeros(1, 3, *clip.patch))
            heads = tower.heads(0, tower.embedded(nothing))[0].shape[1]
            for index in range(min(self._config.layers, self._attended)):
                shares[-1 - index] = float(heads)
        return shares

    def _seen(
        self, kept: dict[str, Tensor], fine: dict[str, Tensor] | None, grid: Any
    ) -> Seen:
        here = {name: one.to(self._clip.device) for name, one in kept.items()}
        count = sum(name.startswith("raw") for name in here)
        rows, columns = fine["grid"].tolist() if fine is not None else (0, 0)
        return Seen(
            here["patches"],
            here["class"],
            grid,
            here.get("affinity"),
            None if fine is None else fine["map"].to(self._clip.device),
            None if fine is None else (rows, columns),
            tuple(here[f"raw{index}"] for index in range(count)),
        )
