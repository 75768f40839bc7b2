"""Tiny Stable Diffusion with random weights, in the folder that diffusers writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TOKENS = 77
WIDTH = 16
_START, _END = "<|startoftext|>", "<|endoftext|>"
_MERGES = ["c a", "ca t</w>", "d o", "do g</w>"]


def vocabulary() -> dict[str, int]:
    """Letters, digits and signs, inside a word and at its end; two whole words."""
    signs = [chr(code) for code in range(33, 127)]
    made = [merge.replace(" ", "") for merge in _MERGES]
    words = [*signs, *(f"{sign}</w>" for sign in signs), *made, _START, _END]
    return {word: index for index, word in enumerate(words)}


def write_tokenizer(folder: Path) -> None:
    """The files of CLIP's tokenizer, as public models have them."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    text = json.dumps(vocabulary())
    (folder / "vocab.json").write_text(text, encoding="utf-8")
    lines = ["#version: 0.2", *_MERGES, ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": TOKENS,
        "bos_token": _START,
        "eos_token": _END,
        "unk_token": _END,
        "pad_token": _END,
    }
    text = json.dumps(settings)
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")


def tiny_unet(*, seed: int = 0, **config: Any) -> UNet2DConditionModel:
    """Stable Diffusion's U-Net, four levels of 3 heads, a hundredth of the width."""
    sizes = {
        "sample_size": 8,
        "block_out_channels": (12, 24, 24, 24),
        "layers_per_block": 2,
        "norm_num_groups": 4,
        "attention_head_dim": 3,
        "cross_attention_dim": WIDTH,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**(sizes | config))
    return unet.eval().requires_grad_(False)


def tiny_vae(*, seed: int = 0) -> AutoencoderKL:
    """An autoencoder of factor 8 with four channels."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8,) * 4,
            layers_per_block=1,
            norm_num_groups=4,
            sample_size=64,
        )
    return vae.eval().requires_grad_(False)


def tiny_text_encoder(*, seed: int = 0) -> CLIPTextModel:
    """CLIP's text model, two layers."""
    words = vocabulary()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words),
                hidden_size=WIDTH,
                intermediate_size=2 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=TOKENS,
                projection_dim=WIDTH,
                bos_token_id=words[_START],
                eos_token_id=words[_END],
                pad_token_id=words[_END],
            )
        )
    return encoder.eval().requires_grad_(False)


def save_tiny_diffusion(
    folder: Path,
    *,
    seed: int = 0,
    prediction: str = "epsilon",
    timesteps: int = 1000,
    **unet: Any,
) -> Path:
    """Write a whole tiny model into `folder`, as diffusers writes a public one.

    `prediction` is diffusers' word: ``epsilon`` or ``v_prediction``; `unet` overrides
    sizes of `tiny_unet`. Load it with ``load_text_diffusion(f"file:{folder}")``.
    """
    folder = Path(folder)
    words = folder / "tokenizer"
    write_tokenizer(words)
    pipeline = StableDiffusionPipeline(
        vae=tiny_vae(seed=seed),
        text_encoder=tiny_text_encoder(seed=seed),
        tokenizer=CLIPTokenizer.from_pretrained(words),
        unet=tiny_unet(seed=seed, **unet),
        scheduler=DDIMScheduler(
            num_train_timesteps=timesteps,
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            clip_sample=False,
            set_alpha_to_one=False,
            steps_offset=1,
            prediction_type=prediction,
        ),
        safety_checker=None,
        feature_extractor=None,
        image_encoder=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
    # The newest libraries write these two in another way than public models have them.
    write_tokenizer(words)
    _published_names(folder / "text_encoder" / "model.safetensors")
    return folder


def _published_names(file: Path) -> None:
    """Of the text model's weights; and the buffer that was once saved with them."""
    state = {
        f"text_model.{name.removeprefix('text_model.')}": tensor
        for name, tensor in load_file(file).items()
    }
    positions = torch.arange(TOKENS)[None]
    state["text_model.embeddings.position_ids"] = positions
    save_file(state, file, {"format": "pt"})
