"""Text-to-image diffusion models of the kind of Stable Diffusion 1 and 2 (DiCLIP).

A model is given by the name of public weights that `diffseg models pull` has brought
here, or as ``file:FOLDER`` in the format of diffusers. Nothing is ever downloaded
here, and nothing unpickled.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffseg.diffusion import NoiseSchedule, Prediction, to_x0
from diffseg.errors import UserError
from diffseg.models.text_diffusion_files import (
    DiffusionFolder,
    folder_of,
    identity_of,
    schedule_from,
    whole_folder,
)


@dataclass(frozen=True, slots=True, eq=False)
class TextDiffusion:
    """A frozen text-to-image diffusion model in a latent space.

    Parameters
    ----------
    name : str
        As it was asked for.
    unet, vae, text_encoder : Module
        ``UNet2DConditionModel``, ``AutoencoderKL`` and ``CLIPTextModel``, in
        evaluation, without gradients.
    tokenizer : CLIPTokenizer
    schedule : NoiseSchedule
        Of the latents, T timesteps.
    prediction : {"eps", "v", "x0"}
        What the U-Net puts out.
    scaling_factor : float
        That latents are multiplied by, so that their variance is about 1.
    identity : str
        SHA-256 of all that decides what the model does. What was computed with one
        model says so, and is refused with another.
    """

    name: str
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    schedule: NoiseSchedule
    prediction: Prediction
    scaling_factor: float
    identity: str

    @property
    def factor(self) -> int:
        """Pixels of an image along a side of one latent."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def latent_channels(self) -> int:
        """Channels Z of a latent."""
        return int(self.vae.config.latent_channels)

    @property
    def size(self) -> int:
        """Side, in pixels, of the images that the U-Net was trained on."""
        return int(self.unet.config.sample_size) * self.factor

    @property
    def context_length(self) -> int:
        """Tokens L of a prompt, its beginning, its end and the padding among them."""
        return int(self.text_encoder.config.max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        place: torch.device = next(self.unet.parameters()).device
        return place

    def latent_shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Shape (Z, y, x) of the latent of an image of `size` (Y, X) pixels.

        Raises
        ------
        UserError
            The extents are no multiples of `factor`.
        """
        if size[0] % self.factor or size[1] % self.factor or min(size) < 1:
            raise UserError(
                f"text-to-image model {self.name}: images of {size[0]} x {size[1]} "
                f"pixels do not fit; give multiples of {self.factor}"
            )
        rows, columns = (side // self.factor for side in size)
        return self.latent_channels, rows, columns

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings (B, L, C) float32 of prompts; ``""`` is the null text.

        Raises
        ------
        UserError
            A prompt is longer than the text encoder reads: it would be cut off.
        """
        for prompt in prompts:
            count = len(self.tokenizer(prompt).input_ids)
            if count > self.context_length:
                raise UserError(
                    f"text-to-image model {self.name}: prompt {prompt[:40]!r}... has "
                    f"{count} tokens; it reads {self.context_length}: shorten it"
                )
        ids = self.tokenizer(
            list(prompts),
            padding="max_length",
            max_length=self.context_length,
            return_tensors="pt",
        ).input_ids
        answer: Tensor = self.text_encoder(ids.to(self.device))[0]
        return answer.float()

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """Latents (B, Z, Y/f, X/f) float32, scaled, of images (B, 1 or 3, Y, X).

        The mean of the autoencoder's distribution; an image lies in [0, 1], and a grey
        one is repeated.

        Raises
        ------
        UserError
            The images have neither one nor three channels, or do not fit.
        """
        if image.ndim != 4 or image.shape[1] not in (1, 3):
            raise UserError(
                f"text-to-image model {self.name} sees images (B, 1 or 3, Y, X); "
                f"these are {tuple(image.shape)}"
            )
        self.latent_shape((image.shape[2], image.shape[3]))
        x = image.expand(-1, 3, -1, -1).to(self.device, self.vae.dtype) * 2 - 1
        mean: Tensor = self.vae.encode(x).latent_dist.mean
        return mean.float() * self.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Images (B, 3, Y, X) float32 in [0, 1] of scaled latents (B, Z, Y/f, X/f)."""
        z = (latents / self.scaling_factor).to(self.device, self.vae.dtype)
        image: Tensor = self.vae.decode(z).sample
        return (image.float() / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def denoise(self, noisy: Tensor, t: Tensor, context: Tensor) -> Tensor:
        """Clean latents, as far as the U-Net knows, of noisy ones.

        Shapes (B, Z, y, x), (B,) and (B, L, C) -> (B, Z, y, x), float32.
        """
        kind = self.unet.dtype
        output: Tensor = self.unet(
            noisy.to(self.device, kind), t.to(self.device), context.to(kind)
        ).sample
        return to_x0(self.prediction, output.float(), noisy, t, self.schedule)


def load_text_diffusion(
    spec: str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TextDiffusion:
    """Load a frozen text-to-image model that is on this machine.

    Parameters
    ----------
    spec : str
        The name of public weights, such as ``sd-2.1-base``, the one that ships,
        ``small-text-diffusion``, or ``file:FOLDER``, a folder as diffusers writes it.
    device : str or device
    dtype : dtype
        Of the weights; what goes in and comes out is float32.

    Raises
    ------
    UserError
        It is not known, not here, not whole, or of another kind.
    """
    folder = whole_folder(folder_of(spec))
    schedule, prediction = schedule_from(folder.scheduler)
    parts = _parts(spec, folder, dtype)
    for name in ("unet", "vae", "text_encoder"):
        parts[name].requires_grad_(False).eval().to(device)
    return TextDiffusion(
        name=spec,
        schedule=schedule,
        prediction=prediction,
        scaling_factor=float(parts["vae"].config.scaling_factor),
        identity=identity_of(folder),
        **parts,
    )


def _parts(spec: str, folder: DiffusionFolder, dtype: torch.dtype) -> dict[str, Any]:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    parts: dict[str, Any] = {}
    try:
        with _quiet():
            for name, kind in (("unet", UNet2DConditionModel), ("vae", AutoencoderKL)):
                parts[name] = _network(kind, folder, name, torch_dtype=dtype)
            words = _network(CLIPTextModel, folder, "text_encoder")
            parts["text_encoder"] = words.to(dtype)
            parts["tokenizer"] = CLIPTokenizer.from_pretrained(
                folder.path / "tokenizer", local_files_only=True
            )
    except UserError:
        raise
    except Exception as err:  # whatever a library or a broken file raises
        said = " ".join(f"{err}".split())[:160]
        raise UserError(
            f"text-to-image model {spec} cannot be loaded ({type(err).__name__}: "
            f"{said}); fetch it again"
        ) from None
    return parts


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' own bars, and their word on what will change one day."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if bars:
            logging.enable_progress_bar()


def _network(kind: Any, folder: DiffusionFolder, part: str, **options: Any) -> Any:
    network, found = kind.from_pretrained(
        folder.path / part,
        variant=folder.variants[part],
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **options,
    )
    # A library gives what it does not find random weights, and goes on.
    lost = [*found["missing_keys"], *found["mismatched_keys"]]
    if lost:
        raise UserError(
            f"text-to-image model {folder.path}: the weights of {part} lack "
            f"{lost[0]}, or have it in another shape; fetch it again"
        )
    return network
