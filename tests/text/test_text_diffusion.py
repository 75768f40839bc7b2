"""Text-to-image models from folders: what they give, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from beside import beside
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file

from diffseg.errors import UserError
from diffseg.models import pulling
from diffseg.models.pulling import find_public, iter_pull
from diffseg.models.text_diffusion import load_text_diffusion
from diffseg.models.text_diffusion_files import (
    identity_of,
    parts_of,
    schedule_from,
    whole_folder,
)
from diffseg.progress import run

tiny = beside(__file__, "tiny_diffusion")

SD = ("sd-1.4", "sd-1.5", "sd-2.1-base")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return tiny.save_tiny_diffusion(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def model(saved):
    return load_text_diffusion(f"file:{saved}")


@pytest.fixture
def copy(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def refused(folder):
    with pytest.raises(UserError) as told:
        load_text_diffusion(f"file:{folder}")
    message = str(told.value)
    assert "\n" not in message
    return message


def test_it_is_frozen_and_knows_its_sizes(model):
    for part in (model.unet, model.vae, model.text_encoder):
        assert not part.training
        assert not any(weight.requires_grad for weight in part.parameters())
    assert (model.factor, model.latent_channels, model.size) == (8, 4, 64)
    assert model.latent_shape((64, 48)) == (4, 8, 6)
    assert model.prediction == "eps"


def test_weights_of_the_text_model_are_those_of_the_file(saved, model):
    # A library that does not know the published names starts from random ones.
    published = load_file(saved / "text_encoder" / "model.safetensors")
    own = model.text_encoder.state_dict()
    published.pop("text_model.embeddings.position_ids")
    for name, tensor in published.items():
        short = name.removeprefix("text_model.")
        same = own.get(short, own.get(name))
        assert torch.equal(same, tensor), name


def test_names_of_the_first_autoencoders_are_read(model, copy):
    file = copy / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = {}
    for name, tensor in load_file(file).items():
        for new, before in old.items():
            name = name.replace(new, before) if "attentions" in name else name
        state[name] = tensor
    save_file(state, file, {"format": "pt"})
    image = torch.rand(1, 3, 32, 32)
    again = load_text_diffusion(f"file:{copy}")
    assert torch.equal(again.encode(image), model.encode(image))


def test_latents_are_the_scaled_mean_of_images_from_minus_one(model):
    image = torch.rand(2, 3, 32, 16)
    mean = model.vae.encode(image * 2 - 1).latent_dist.mean
    assert model.scaling_factor == 0.18215
    torch.testing.assert_close(model.encode(image), mean * 0.18215)
    grey = image[:, :1]
    same = model.encode(grey.repeat(1, 3, 1, 1))
    assert torch.equal(model.encode(grey), same)
    decoded = model.decode(mean * 0.18215)
    expected = (model.vae.decode(mean).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(decoded, expected)


@pytest.mark.parametrize("shape", [(1, 2, 16, 16), (3, 16, 16), (1, 3, 20, 16)])
def test_images_that_do_not_fit_are_refused(model, shape):
    with pytest.raises(UserError):
        model.encode(torch.rand(shape))


def test_prompts_are_padded_and_never_cut(model):
    texts = model.embed(["", "a cat"])
    assert texts.shape == (2, 77, tiny.WIDTH)
    assert not torch.equal(texts[0], texts[1])
    torch.testing.assert_close(model.embed(["a cat"])[0], texts[1])
    with pytest.raises(UserError, match="tokens; it reads 77"):
        model.embed(["cat " * 80])


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_clean_latent_is_diffusers_own(tmp_path, kind):
    folder = tiny.save_tiny_diffusion(tmp_path, prediction=kind)
    model = load_text_diffusion(f"file:{folder}")
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    scheduler.set_timesteps(1000)
    draw = torch.Generator().manual_seed(0)
    noisy = torch.randn(2, 4, 8, 8, generator=draw)
    t = torch.tensor([81, 81])
    text = model.embed(["", "dog"])
    output = model.unet(noisy, t, text).sample
    expected = scheduler.step(output, 81, noisy).pred_original_sample
    torch.testing.assert_close(
        model.denoise(noisy, t, text), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("kind", ["linear", "scaled_linear"])
@pytest.mark.parametrize("zero", [False, True])
def test_the_schedule_is_diffusers_own(kind, zero):
    config = {
        "beta_schedule": kind,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "num_train_timesteps": 200,
        "rescale_betas_zero_snr": zero,
    }
    schedule, _ = schedule_from(config)
    expected = DDIMScheduler(**config).alphas_cumprod.double()
    torch.testing.assert_close(schedule.alpha_bar, expected, rtol=1e-4, atol=1e-6)


def test_a_schedule_that_is_not_known_is_refused():
    with pytest.raises(UserError, match="beta_schedule"):
        schedule_from({"beta_schedule": "sigmoid"})
    with pytest.raises(UserError, match="prediction_type"):
        schedule_from({"prediction_type": "flow"})


def test_the_identity_is_of_what_it_does_not_of_where_it_lies(model, copy):
    config = copy / "unet" / "config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"_name_or_path": "elsewhere"}))
    assert load_text_diffusion(f"file:{copy}").identity == model.identity
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["conv_in.bias"][0] += 1
    save_file(state, file, {"format": "pt"})
    assert load_text_diffusion(f"file:{copy}").identity != model.identity


def test_the_identity_knows_scheduler_and_vocabulary(model, copy):
    file = copy / "scheduler" / "scheduler_config.json"
    before = file.read_text()
    content = json.loads(before) | {"prediction_type": "v_prediction"}
    file.write_text(json.dumps(content))
    assert load_text_diffusion(f"file:{copy}").identity != model.identity
    file.write_text(before)
    assert load_text_diffusion(f"file:{copy}").identity == model.identity
    words = copy / "tokenizer" / "merges.txt"
    words.write_text(words.read_text().replace("d o\n", "d o\nb a\n"))
    vocabulary = copy / "tokenizer" / "vocab.json"
    known = json.loads(vocabulary.read_text())
    vocabulary.write_text(json.dumps({"ba": len(known)} | known))
    assert load_text_diffusion(f"file:{copy}").identity != model.identity


def test_the_identity_knows_what_a_text_is_filled_up_with(copy):
    before = identity_of(whole_folder(copy))
    told = copy / "tokenizer" / "special_tokens_map.json"
    told.write_text('{"pad_token": "!"}')
    folder = whole_folder(copy)
    assert identity_of(folder) != before
    assert parts_of(folder)["tokenizer/special_tokens_map.json"] == told


def test_half_weights_are_read_where_there_are_no_others(model, copy):
    for part, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        file = copy / part / f"{stem}.safetensors"
        state = {
            k: t.half() if t.is_floating_point() else t
            for k, t in load_file(file).items()
        }
        save_file(state, file.with_name(f"{stem}.fp16.safetensors"), {"format": "pt"})
        file.unlink()
    half = load_text_diffusion(f"file:{copy}")
    assert half.unet.dtype == torch.float32
    torch.testing.assert_close(
        half.embed(["cat"]), model.embed(["cat"]), atol=1e-2, rtol=1e-2
    )


@pytest.mark.parametrize(
    "lost",
    [
        "model_index.json",
        "unet/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "tokenizer/merges.txt",
        "scheduler/scheduler_config.json",
    ],
)
def test_a_file_that_is_missing_is_named(copy, lost):
    (copy / lost).unlink()
    assert lost in refused(copy)


def test_pickled_weights_are_not_read(copy):
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))
    assert "never read" in refused(copy)


def test_weights_that_lack_a_tensor_are_refused(copy):
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    del state["conv_in.bias"]
    save_file(state, file, {"format": "pt"})
    assert "conv_in.bias" in refused(copy)


def test_broken_weights_and_other_models_are_refused(copy):
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no")
    assert "fetch it again" in refused(copy)
    index = copy / "model_index.json"
    content = json.loads(index.read_text())
    content["text_encoder"] = ["transformers", "T5EncoderModel"]
    index.write_text(json.dumps(content))
    assert "T5EncoderModel" in refused(copy)
    index.write_text("{")
    assert "no configuration" in refused(copy)


@pytest.mark.parametrize("name", SD)
def test_what_is_not_here_is_told_whole(name, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    with pytest.raises(UserError) as told:
        load_text_diffusion(name)
    message = str(told.value)
    assert "\n" not in message
    for word in (" GB ", "https://", "licence", f"models pull {name}", "--from"):
        assert word in message
    assert not list(tmp_path.iterdir())  # nothing was fetched


def test_an_unknown_name_meets_the_nearest(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"did you mean 'sd-1\.5'"):
        load_text_diffusion("sd-15")
    with pytest.raises(UserError, match="not known"):
        load_text_diffusion("kl-f8")  # public, and no text-to-image model


def test_a_pull_from_a_folder_keeps_its_folders(saved, model, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIFFSEG_OFFLINE", "1")
    source = Path(shutil.copytree(saved, tmp_path / "source"))
    (source / "tokenizer" / "special_tokens_map.json").write_text("{}")
    entry = find_public("sd-1.5")
    folder = run(iter_pull(entry, source))
    receipt = json.loads((folder / pulling.RECEIPT).read_text())
    assert "unet/config.json" in receipt["files"]
    assert "vae/config.json" in receipt["files"]
    assert load_text_diffusion("sd-1.5").identity == model.identity
    (source / "vae" / "config.json").unlink()
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"vae/config\.json"):
        run(iter_pull(entry, source))
    assert not folder.exists()


def test_a_download_keeps_its_folders(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFSEG_HOME", str(tmp_path / "home"))
    files = [
        pulling.PublicFile(url=(saved / part / "config.json").as_uri(), under=part)
        for part in ("unet", "vae")
    ]
    entry = find_public("sd-1.4").model_copy(update={"files": tuple(files)})
    folder = run(iter_pull(entry))
    for part in ("unet", "vae"):
        kept = (folder / part / "config.json").read_bytes()
        assert kept == (saved / part / "config.json").read_bytes()
