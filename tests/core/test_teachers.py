"""Frozen transformers to align with: their tokens, their files, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.errors import UserError
from diffseg.models import pulling, teachers
from diffseg.models.teacher_files import (
    TowerConfig,
    build_tower,
    read_tower,
    save_teacher,
)
from diffseg.models.teachers import load_teacher

CONFIG = TowerConfig(
    size=32, patch=8, width=24, depth=2, heads=3, registers=2, mean=(0.1, 0.2, 0.3)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_teacher(build_tower(CONFIG, seed=1), CONFIG, tmp_path / "teacher")


def images(size: int = 32, channels: int = 3) -> Tensor:
    source = torch.Generator().manual_seed(2)
    return torch.rand(2, channels, size, size, generator=source)


def test_tokens_are_the_patches_normalised_without_class_and_registers(
    folder: Path,
) -> None:
    teacher = load_teacher(f"file:{folder}")
    tokens = teacher(images())
    assert tokens.shape == (2, teacher.count, teacher.dim) == (2, 16, 24)
    assert (teacher.grid, teacher.size, teacher.patch) == ((4, 4), (32, 32), (8, 8))
    tower, mean, std = read_tower(folder)
    assert mean == (0.1, 0.2, 0.3)
    shaped = [torch.tensor(v)[:, None, None] for v in (mean, std)]
    features = tower.eval().forward_features((images() - shaped[0]) / shaped[1])
    assert features.shape[1] == 1 + 2 + 16
    torch.testing.assert_close(tokens, features[:, 3:])
    centred = tokens.mean(-1)  # the last normalisation has been applied
    torch.testing.assert_close(centred, torch.zeros_like(centred), atol=1e-4, rtol=0)


def test_tokens_are_in_rows_from_the_top(folder: Path) -> None:
    teacher = load_teacher(f"file:{folder}")
    tower: Any = teacher.tower
    flat = images()
    patches = tower.patch_embed(flat - 0.0)
    one = tower.patch_embed.proj(flat)[:, :, 1, 2]  # row 1, column 2 of the grid
    torch.testing.assert_close(patches[:, 1 * 4 + 2], one)


def test_it_is_frozen_and_no_part_of_who_holds_it(folder: Path) -> None:
    teacher = load_teacher(f"file:{folder}")
    assert not teacher.tower.training
    assert not any(p.requires_grad for p in teacher.tower.parameters())
    asked = images().requires_grad_()
    assert not teacher(asked).requires_grad
    holder = nn.Module()
    holder.teacher = teacher
    assert not list(holder.parameters())
    assert not holder.state_dict()


def test_images_are_resized_and_grey_ones_repeated(folder: Path) -> None:
    teacher = load_teacher(f"file:{folder}")
    small = images(20)
    resized = functional.interpolate(small, (32, 32), mode="bicubic")
    torch.testing.assert_close(teacher(small), teacher(resized))
    grey = images(channels=1)
    torch.testing.assert_close(teacher(grey), teacher(grey.repeat(1, 3, 1, 1)))
    with pytest.raises(UserError, match="these have 4"):
        teacher(images(channels=4))


def test_another_grid_resamples_the_positions(folder: Path) -> None:
    teacher = load_teacher(f"file:{folder}", grid=(8, 6))
    assert (teacher.count, teacher.size) == (48, (64, 48))
    assert teacher(images()).shape == (2, 48, 24)


def test_the_same_seed_builds_the_same_and_touches_no_other() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, two, other = (build_tower(CONFIG, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one.pos_embed, two.pos_embed)
    assert not torch.equal(one.pos_embed, other.pos_embed)


def test_what_is_saved_is_read_by_timm_too(folder: Path) -> None:
    import timm

    content = json.loads((folder / "config.json").read_text())
    theirs = timm.create_model(
        content["architecture"],
        pretrained=False,
        checkpoint_path=str(folder / "model.safetensors"),
        **content["model_args"],
    ).eval()
    ours = load_teacher(f"file:{folder}").tower
    x = images()
    torch.testing.assert_close(theirs.forward_features(x), ours.forward_features(x))


def test_a_teacher_of_timm_comes_from_what_was_pulled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(3)
    tower = timm.create_model("test_vit", pretrained=False)  # timm's own for tests
    save_file(tower.state_dict(), tmp_path / "model.safetensors")
    monkeypatch.setenv("DIFFSEG_OFFLINE", "1")
    monkeypatch.setattr(teachers, "pulled_folder", lambda spec: tmp_path)
    teacher = load_teacher("timm:test_vit", grid=(3, 3))
    cfg = tower.pretrained_cfg
    assert (teacher.mean, teacher.std) == (cfg["mean"], cfg["std"])
    assert teacher(images()).shape == (2, 9, tower.embed_dim)
    assert torch.equal(
        teacher.tower.blocks[0].attn.qkv.weight, tower.blocks[0].attn.qkv.weight
    )


@pytest.mark.slow
def test_a_tower_of_open_clip_gives_its_patches(tmp_path: Path) -> None:
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(4)
    whole = open_clip.create_model("ViT-S-32-alt").eval()
    file = tmp_path / "clip.safetensors"
    save_file(whole.state_dict(), file)
    teacher = load_teacher(f"open_clip:ViT-S-32-alt/{file}", grid=(2, 2))
    assert teacher.size == (64, 64)
    x = images(64)
    tokens = teacher(x)
    assert tokens.shape == (2, 4, teacher.dim)
    tower = teacher.tower
    shaped = [torch.tensor(v)[:, None, None] for v in (teacher.mean, teacher.std)]
    seen: list[Tensor] = []
    hook = tower.ln_post.register_forward_hook(lambda *a: seen.append(a[2]))
    teacher.tokens((x - shaped[0]) / shaped[1])
    hook.remove()
    torch.testing.assert_close(tokens, seen[0][:, 1:])
    assert torch.equal(tower.conv1.weight, whole.visual.conv1.weight)


def test_dinov2_at_leaf_s_grid_has_256_tokens_of_768() -> None:
    import timm

    with torch.device("meta"):
        tower = timm.create_model("vit_base_patch14_reg4_dinov2", num_classes=0)
    assert (tower.num_prefix_tokens, tower.embed_dim) == (5, 768)
    assert tower.patch_embed.patch_size == (14, 14)  # 16 x 16 of 224 x 224
    known = {entry.teacher for entry in pulling.public_weights()}
    assert "timm:vit_base_patch14_reg4_dinov2.lvd142m" in known


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dinov2", "give timm:NAME"),
        ("timm:", "give timm:NAME"),
        ("timm:no_such_model", "timm has no model"),
        ("timm:vit_small_patch14_reg4_dinov2.lvd142m", "DIFFSEG_OFFLINE"),
        ("open_clip:ViT-B-16", "NAME/TAG"),
        ("open_clip:ViT-B-16/no_such_tag", "neither a file of safetensors nor"),
        ("open_clip:ViT-B-16/openai", "DIFFSEG_OFFLINE"),
        ("open_clip:RN50/openai", "own vision transformer"),
        ("file:nowhere", r"config.json cannot be read"),
    ],
)
def test_a_teacher_that_is_not_there_is_told(
    spec: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DIFFSEG_OFFLINE", "1")
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    with pytest.raises(UserError, match=message) as told:
        load_teacher(spec)
    assert "\n" not in str(told.value)


def test_a_folder_of_another_network_is_told(folder: Path, tmp_path: Path) -> None:
    config = folder / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"architecture": "resnet18"}))
    with pytest.raises(UserError, match="is not of resnet18"):
        load_teacher(f"file:{folder}")
    content["model_args"]["embed_dim"] = 48
    config.write_text(json.dumps(content))
    with pytest.raises(UserError, match="another architecture"):
        load_teacher(f"file:{folder}")
    (folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="not safetensors"):
        load_teacher(f"file:{folder}")
    with pytest.raises(UserError, match="must divide"):
        build_tower(TowerConfig(size=30, patch=8), seed=0)
