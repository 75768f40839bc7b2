"""CLIPs small enough for a test, in the very files that open_clip publishes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = (
    "a an of clean in the tissue brain lesion tumour mass glioma nucleus cell skin "
    "image scan mri mr slice showing photo bird tree ground normal background"
)
VOCABULARY = [*SPECIAL, *WORDS.split(" ")]


def model_config(
    *, layers: int = 4, heads: int = 2, width: int = 16, patch: int = 8, size: int = 32
) -> dict[str, Any]:
    """An open_clip configuration with its own two towers."""
    return {
        "embed_dim": 12,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": size,
            "layers": layers,
            "width": width,
            "head_width": width // heads,
            "patch_size": patch,
        },
        "text_cfg": {
            "context_length": 77,
            "vocab_size": 49408,
            "width": 16,
            "heads": 2,
            "layers": 1,
        },
    }


def seeded(build: Any, seed: int = 0) -> Any:
    """What `build` builds, its random weights of one seed and not too small."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases that are zero hide mistakes
                parameter.data += 0.1 * torch.randn_like(parameter)
    return model.requires_grad_(False).eval()


def clip_model(seed: int = 0, **sizes: int) -> Any:
    """A CLIP of open_clip's own making."""
    from open_clip.model import CLIP

    return seeded(lambda: CLIP(**model_config(**sizes)), seed)


@contextmanager
def small_timm_vit(name: str = "vit_tiny_patch16_224") -> Iterator[None]:
    """Let timm build a vision transformer of few and narrow blocks under its name."""
    import timm

    create = timm.create_model

    def small(model_name: str, **options: Any) -> Any:
        assert model_name == name
        options |= {"img_size": 32, "patch_size": 8, "depth": 3, "embed_dim": 24}
        return create(model_name, num_heads=3, **options)

    timm.create_model = small
    try:
        yield
    finally:
        timm.create_model = create


def timm_tower(seed: int = 0, **options: Any) -> Any:
    """BiomedCLIP's kind of image tower: timm's, in open_clip's adapter."""
    import timm
    from open_clip.timm_model import TimmModel

    def build() -> nn.Module:
        with small_timm_vit():
            tower = TimmModel(
                "vit_tiny_patch16_224", embed_dim=12, pool="", proj="linear"
            )
        if options:
            tower.trunk = timm.create_model(
                "vit_tiny_patch16_224",
                img_size=32,
                patch_size=8,
                depth=3,
                embed_dim=24,
                num_heads=3,
                num_classes=0,
                **options,
            )
        return tower

    return seeded(build, seed)


def write_folder(folder: Path, seed: int = 0, **sizes: int) -> Any:
    """Write a CLIP as the hub's repositories hold one; returns the model."""
    from safetensors.torch import save_file

    model = clip_model(seed, **sizes)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "model_cfg": model_config(**sizes),
        "preprocess_cfg": {"mean": MEAN, "std": STD},
    }
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    return model


def write_biomedical(folder: Path, seed: int = 0) -> Any:
    """Write a CLIP with timm's image tower and BERT's text tower; returns the model.

    The weights are a checkpoint of torch, as BiomedCLIP's are. Who reads them must do
    so within `small_timm_vit`: sizes are no part of such a configuration.
    """
    from open_clip.model import CustomTextCLIP
    from transformers import BertConfig

    folder.mkdir(parents=True, exist_ok=True)
    bert = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
    )
    bert.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    named = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    config: dict[str, Any] = {
        "embed_dim": 12,
        "vision_cfg": {
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 224,
        },
        "text_cfg": {
            "hf_model_name": named,
            "hf_tokenizer_name": named,
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": 32,
        },
    }
    content = {"model_cfg": config, "preprocess_cfg": {"mean": MEAN, "std": STD}}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    here = {"hf_model_name": str(folder), "hf_model_pretrained": False}
    built = config | {"text_cfg": config["text_cfg"] | here}
    with small_timm_vit():
        model = seeded(lambda: CustomTextCLIP(**built), seed)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return model
