"""Models of the method `diclip` for tests: tiny, of backbones in public form."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from beside import beside
from torch import Tensor

from diffseg.domain import Request
from diffseg.models import ModelFolder
from diffseg.segmenters.text.assembling import assemble
from diffseg.segmenters.text.assembly import Assembly
from diffseg.volume import Volume

tiny_clip = beside(__file__, "tiny_clip")
tiny_diffusion = beside(__file__, "tiny_diffusion")

CLIPS = ("openai", "own_tokenizer", "biomedical")
DIFFUSIONS: dict[str, dict[str, Any]] = {
    "sd1": {},
    "sd2": {
        "prediction": "v_prediction",
        "attention_head_dim": (3, 6, 6, 6),
        "use_linear_projection": True,
    },
}
LABELS = ("lesion", "hair")
WORDS = """\
templates: ["an image of {}", "a photo showing {}"]
classes:
  lesion: [lesion, tumour, mass]
  hair: [nucleus, cell]
background: [normal tissue, skin, background]
"""


def write_clip(kind: str, folder: Path, seed: int = 0) -> Path:
    """A CLIP with open_clip's tokenizer, with one of transformers, or BiomedCLIP's."""
    if kind == "biomedical":
        tiny_clip.write_biomedical(folder, seed)
    else:
        tiny_clip.write_folder(folder, seed)
    if kind == "own_tokenizer":
        _give_tokenizer(folder, seed)
    return folder


def _give_tokenizer(folder: Path, seed: int) -> None:
    from open_clip.model import CLIP
    from safetensors.torch import save_file

    told = json.loads((folder / "open_clip_config.json").read_text())
    text = told["model_cfg"]["text_cfg"]
    text["vocab_size"], text["context_length"] = len(tiny_clip.VOCABULARY), 32
    model = tiny_clip.seeded(lambda: CLIP(**told["model_cfg"]), seed)
    state = {k: v.contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors")
    text["hf_tokenizer_name"] = "of-its-own"
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    (folder / "vocab.txt").write_text("\n".join(tiny_clip.VOCABULARY) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 32}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def readable(kind: str) -> AbstractContextManager[None]:
    """Within this, a CLIP of that kind can be loaded."""
    made = tiny_clip.small_timm_vit() if kind == "biomedical" else nullcontext()
    assert isinstance(made, AbstractContextManager)
    return made


def write_diffusion(kind: str, folder: Path, seed: int = 0) -> Path:
    """A text-to-image model laid out as Stable Diffusion 1 or 2."""
    tiny_diffusion.save_tiny_diffusion(folder, seed=seed, **DIFFUSIONS[kind])
    return folder


def write_words(folder: Path, text: str = WORDS) -> Path:
    """A prompts file whose words every tiny CLIP knows."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "words.yaml"
    file.write_text(text)
    return file


def write_backbones(folder: Path) -> Path:
    """Both, and the words, in `folder`."""
    write_clip("openai", folder / "clip")
    write_diffusion("sd1", folder / "sd")
    write_words(folder)
    return folder


def made_model(backbones: Path, out: Path, **changes: Any) -> ModelFolder:
    """A model of `write_backbones`; `changes` are of `Assembly`, or its options."""
    own = {key: changes.pop(key) for key in list(changes) if key in _FIELDS}
    fields = {
        "clip": str(backbones / "clip"),
        "diffusion": str(backbones / "sd"),
        "labels": LABELS,
        "words": backbones / "words.yaml",
        "members": 1,
        **own,
    }
    # On so few patches the boxes of the paper hold one each, whatever the map.
    options = {"side": 40, "box_threshold": 0.2, **changes}
    return assemble(out, "tiny", Assembly(**fields, options=options))


_FIELDS = tuple(Assembly.__dataclass_fields__)


def picture(
    shape: tuple[int, int, int] = (1, 40, 56), channels: int = 3, seed: int = 0
) -> Volume:
    """Noise with a bright box, (C, Z, Y, X)."""
    random = np.random.default_rng(seed)
    voxels = random.integers(0, 120, (channels, *shape)).astype(np.uint8)
    rows, columns = shape[1] // 4, shape[2] // 4
    voxels[..., rows : 2 * rows + 1, columns : 2 * columns + 1] += 120
    return Volume.from_array(voxels)


def request(volume: Volume | None = None, **fields: Any) -> Request:
    """A request about a picture."""
    return Request(picture() if volume is None else volume, **fields)


def counted(model: Any, name: str, calls: list[str]) -> None:
    """Write down every forward pass of a module."""

    def note(*_: object) -> None:
        calls.append(name)

    model.register_forward_pre_hook(note)


def slice_of(volume: Volume) -> Tensor:
    """First plane (C, Y, X) of a picture, in [0, 1] channel by channel."""
    plane = torch.from_numpy(np.asarray(volume.data)[:, 0]).float()
    low, high = (plane.flatten(1).amin(1), plane.flatten(1).amax(1))
    return (plane - low[:, None, None]) / (high - low)[:, None, None]
