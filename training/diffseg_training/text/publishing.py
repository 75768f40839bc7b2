"""Folders in public formats: what open_clip and diffusers write, and their cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save
from torch import nn

from diffseg.errors import UserError
from diffseg.networks.caption_clip import CaptionClip
from diffseg.networks.caption_diffusion import CaptionDiffusion
from diffseg.volume import atomic_write_bytes
from diffseg_training.recipe import Recipe
from diffseg_training.settings.contrastive_captions import Settings as ClipSettings
from diffseg_training.settings.text_diffusion import Settings as DiffusionSettings
from diffseg_training.text.caption_settings import CaptionSettings
from diffseg_training.text.captions import vocabulary
from diffseg_training.text.picture_sets import read_sets
from diffseg_training.text.tokenizers import WordTokenizer

if TYPE_CHECKING:
    from diffseg_training.trainer import TrainingResult

_PREDICTIONS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
# Of the linear schedules, where a recipe names none.
_BETAS = {"linear": (1e-4, 0.02), "scaled_linear": (0.00085, 0.012)}


def save_folder(folder: Path, recipe: Recipe, result: TrainingResult) -> Path:
    """Write what was learnt as other libraries read it, and a card, ``README.md``.

    Raises
    ------
    UserError
        The network has no public format, or the folder cannot be written.
    """
    network = result.network
    if isinstance(network, CaptionClip):
        _save_clip(folder, recipe, network)
    elif isinstance(network, CaptionDiffusion):
        _save_diffusion(folder, recipe, network)
    else:
        raise UserError(
            f"recipe {recipe.name}: network {recipe.network['name']} has no public "
            "format: set product=part"
        )
    atomic_write_bytes(folder / "README.md", _card(recipe, result).encode())
    return folder


def _save_clip(folder: Path, recipe: Recipe, network: CaptionClip) -> None:
    """Write ``open_clip_config.json``, weights (float32) and BERT's tokenizer."""
    from diffseg_training.objectives.contrastive_captions import tokenizer_of

    config = recipe.objective
    assert isinstance(config, ClipSettings)
    model = json.loads(json.dumps(network.config))
    # The name alone says that the tokenizer is one of transformers: it lies here.
    model["text_cfg"]["hf_tokenizer_name"] = recipe.name
    model["custom_text"] = True
    half = [0.5, 0.5, 0.5]
    images = {"mean": half, "std": half, "interpolation": "bilinear"}
    told = {"model_cfg": model, "preprocess_cfg": {**images, "resize_mode": "squash"}}
    atomic_write_bytes(folder / "open_clip_model.safetensors", _weights(network.clip))
    tokenizer = tokenizer_of(config, network)
    tokenizer.inner.save_pretrained(folder)
    words = [*tokenizer.inner.get_vocab().items()]
    text = "".join(f"{word}\n" for word, _ in sorted(words, key=lambda pair: pair[1]))
    atomic_write_bytes(folder / "vocab.txt", text.encode())
    text = json.dumps(told, indent=2) + "\n"
    atomic_write_bytes(folder / "open_clip_config.json", text.encode())


def _save_diffusion(folder: Path, recipe: Recipe, network: CaptionDiffusion) -> None:
    """Write the folders of Stable Diffusion's pipeline, and its index."""
    from diffusers import StableDiffusionPipeline

    from diffseg_training.objectives.text_diffusion import tokenizer_of

    config = recipe.objective
    assert isinstance(config, DiffusionSettings)
    tokenizer = tokenizer_of(config, network)
    pipeline: Any = StableDiffusionPipeline(  # type: ignore[no-untyped-call]
        vae=_autoencoder(network),
        text_encoder=network.text_encoder,
        tokenizer=tokenizer.inner,
        unet=network.unet,
        scheduler=_scheduler(recipe),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    _save_pairs(folder / "tokenizer", tokenizer)


def _autoencoder(network: CaptionDiffusion) -> nn.Module:
    """The frozen autoencoder in the class that diffusers publishes it as."""
    from diffusers import AutoencoderKL

    sizes = network.autoencoder_config
    multipliers = sizes.get("multipliers", (1, 2, 4, 4))
    model: Any = AutoencoderKL(  # type: ignore[no-untyped-call]
        in_channels=network.autoencoder.image_channels,
        out_channels=network.autoencoder.image_channels,
        latent_channels=network.autoencoder.latent_channels,
        block_out_channels=tuple(sizes.get("channels", 128) * m for m in multipliers),
        down_block_types=("DownEncoderBlock2D",) * len(multipliers),
        up_block_types=("UpDecoderBlock2D",) * len(multipliers),
        layers_per_block=sizes.get("blocks", 2),
        norm_num_groups=sizes.get("groups", 32),
        sample_size=network.size,
        scaling_factor=network.scale,
    )
    model.load_state_dict(network.autoencoder.state_dict())
    found: nn.Module = model.eval()
    return found


def _scheduler(recipe: Recipe) -> Any:
    """The schedule and the prediction that the network was taught."""
    from diffusers import DDIMScheduler

    sampling = recipe.sampling
    first, last = sampling.betas or _BETAS[sampling.schedule]
    if sampling.schedule == "linear":  # its ends are told for 1000 timesteps
        first, last = (1000 / sampling.timesteps * end for end in (first, last))
    return DDIMScheduler(  # type: ignore[no-untyped-call]
        num_train_timesteps=sampling.timesteps,
        beta_start=first,
        beta_end=min(last, 0.999),
        beta_schedule=sampling.schedule,
        prediction_type=_PREDICTIONS[sampling.prediction],
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def _save_pairs(folder: Path, tokenizer: WordTokenizer) -> None:
    """Write ``vocab.json`` and ``merges.txt``, as older libraries read them."""
    content = json.loads(tokenizer.inner.backend_tokenizer.to_str())["model"]
    text = json.dumps(content["vocab"]) + "\n"
    atomic_write_bytes(folder / "vocab.json", text.encode())
    pairs = [p if isinstance(p, str) else " ".join(p) for p in content["merges"]]
    text = "\n".join(["#version: 0.2", *pairs, ""])
    atomic_write_bytes(folder / "merges.txt", text.encode())


def _weights(model: nn.Module) -> bytes:
    state = {
        name: value.detach().cpu().float().contiguous().clone()
        for name, value in model.state_dict().items()
    }
    return save(state, metadata={"format": "pt"})


def _card(recipe: Recipe, result: TrainingResult) -> str:
    """What is in the folder, for a person: sets, licences, words, scores."""
    config, text = recipe.objective, recipe.card
    assert isinstance(config, CaptionSettings)
    sets = read_sets(config.words)
    places = (
        "Captions tell set, presence, side and size; sides and sizes are taken from "
        "the masks of the split train."
        if config.places
        else "Captions tell set and presence alone."
    )
    best = ", ".join(f"{name} {value:.4g}" for name, value in result.best.items())
    lines = [
        f"# {text.title}",
        "",
        text.intended_use,
        "",
        f"Licence: {text.licence}.",
        f"{text.data} {places}",
        "",
        *(f"- {one.title}: {one.licence}" for one in sets),
        "",
        f"Trained by the recipe {recipe.name}, {result.steps} steps in "
        f"{result.minutes:.1f} minutes; on val: {best}.",
        "",
        "Limits:",
        "",
        *(f"- {limit}" for limit in text.limits),
        "",
        f"It knows these words and no others: {', '.join(vocabulary(sets))}.",
        "",
    ]
    return "\n".join(lines)
