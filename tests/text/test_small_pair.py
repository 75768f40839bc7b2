"""The small CLIP and the small text-to-image model: losses, runs, what they write."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from diffseg.diffusion import generator, schedule_of
from diffseg.errors import UserError
from diffseg.models.clip_weights import load_clip
from diffseg.models.text_diffusion_files import schedule_from
from diffseg.networks import build_network
from diffseg.progress import run
from diffseg_training.objectives import Batch, make_loss
from diffseg_training.objectives.contrastive_captions import contrast, matched, truth
from diffseg_training.parts import save_part
from diffseg_training.recipe import load_recipe
from diffseg_training.text.captions import Caption
from diffseg_training.text.facts import Facts
from diffseg_training.text.picture_sets import class_names, read_sets
from diffseg_training.text.publishing import save_folder
from diffseg_training.trainer import iter_train, make_step
from diffseg_training.training_set import Example

NAMES = class_names(read_sets())
SIZE = 32
COMMON = [
    f"patch=[{SIZE}, {SIZE}]",
    f"preparation.size=[{SIZE}, {SIZE}]",
    f"network.size={SIZE}",
    "length.validations=2",
    "length.log_steps=1",
    "optimiser.batch=4",
    "optimiser.ema=0.0",
    "optimiser.warmup=0.0",
    "trackers=[]",
]
TINY = {
    "small-clip": [
        "network.patch=8",
        "network.width=32",
        "network.layers=1",
        "network.text_width=32",
        "network.text_layers=1",
        "network.embedding=16",
        "optimiser.learning_rate=3.0e-3",
    ],
    "small-text-diffusion": [
        "network.channels=[16, 16, 16, 16]",
        "network.groups=4",
        "network.heads=2",
        "network.text_width=32",
        "network.text_layers=1",
        "optimiser.learning_rate=3.0e-3",
    ],
}


def tiny(name, *more):
    """A shipped recipe with the least of networks."""
    return load_recipe(name, [*COMMON, *TINY[name], *more])


def toy(count=6):
    """Dark heads, every other with a bright box, and bright skin with a dark one."""
    found = []
    for index in range(count):
        around, inside = (("brain", "tumour"), ("skin", "lesion"))[index % 2]
        classes = np.full((1, SIZE, SIZE), 1 + NAMES.index(around), np.uint8)
        image = np.full((3, 1, SIZE, SIZE), (-0.8, 0.6)[index % 2], np.float32)
        if index % 4 < 2:
            box = np.s_[..., 4:12, 3 + index : 13 + index]
            classes[box] = 1 + NAMES.index(inside)
            image[box] = (0.9, -0.6)[index % 2]
        found.append(
            Example(f"c{index}", torch.from_numpy(image), torch.from_numpy(classes), 2)
        )
    return found


def batch_of(examples, seed=0):
    """The examples as they are, as a batch."""
    return Batch(
        torch.stack([one.image[:, 0] for one in examples]),
        torch.stack([one.classes[0].long() for one in examples]),
        [generator(seed, index) for index in range(len(examples))],
    )


def trained(recipe, out, **options):
    """Work that trains by a recipe on the toy."""
    out.mkdir(parents=True, exist_ok=True)
    return iter_train(recipe, toy(), None, out, held_out=toy(4), **options)


# The contrastive loss


def test_contrast_is_the_mean_over_all_true_pairs():
    scores = torch.randn(4, 3, generator=generator(0))
    true = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
    total = 0.0
    for table, right in ((scores, true), (scores.T, true.T)):
        rows = []
        for row, own in zip(table.tolist(), right.tolist(), strict=True):
            below = math.log(sum(math.exp(one) for one in row))
            wanted = [
                one - below for one, is_own in zip(row, own, strict=True) if is_own
            ]
            if wanted:  # a picture of which no caption is true says nothing
                rows.append(-sum(wanted) / len(wanted))
        total += sum(rows) / len(rows) / 2
    torch.testing.assert_close(float(contrast(scores, true)), total)


def test_contrast_of_single_pairs_is_that_of_clip():
    scores = torch.randn(5, 5, generator=generator(1))
    own = torch.arange(5)
    wanted = functional.cross_entropy(scores, own) / 2
    wanted = wanted + functional.cross_entropy(scores.T, own) / 2
    torch.testing.assert_close(contrast(scores, torch.eye(5).bool()), wanted)


def test_a_caption_given_twice_is_no_negative():
    said = Caption("brain", frozenset({("set", "lgg")}))
    left = frozenset({("set", "lgg"), ("at", "tumour", "left")})
    facts = [Facts(None, said.said), Facts(None, left), Facts(None, frozenset())]
    captions = [said, said, Caption("tumour on the left", left)]
    true = truth(facts, captions)
    assert true.tolist() == [[True, True, False], [True] * 3, [False] * 3]
    # Between two twins neither is preferred: their difference has no gradient.
    scores = torch.zeros(2, 2, requires_grad=True)
    contrast(scores, torch.ones(2, 2).bool()).backward()
    torch.testing.assert_close(scores.grad, torch.zeros(2, 2))


def test_matched_counts_any_true_text():
    true = torch.tensor([[True, True, False], [False, False, True]])
    scores = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 1.0]])
    assert float(matched(scores, true)) == 0.5


def test_the_loss_of_a_batch_is_that_of_its_parts():
    recipe = tiny("small-clip")
    step = make_step(recipe)
    batch = batch_of(toy())
    loss, terms = step.loss(step.network, batch)
    captioner = step.loss.captioner
    facts, captions = captioner(batch.classes, batch_of(toy()).sources)
    images = step.network.embedded_images(batch.image)
    texts = torch.cat(
        [
            step.network.embedded_texts(step.loss.tokenizer([one.text]))
            for one in captions
        ]
    )
    scores = step.network.scale * images @ texts.T
    torch.testing.assert_close(loss, contrast(scores, truth(facts, captions)))
    assert terms["scale"] == pytest.approx(1 / 0.07, rel=1e-4)
    assert loss.requires_grad
    # Held-out pictures are told without sides and sizes.
    with torch.no_grad():
        facts, _ = captioner(batch.classes, batch.sources)
    kinds = {statement[0] for one in facts for statement in one.statements}
    assert kinds == {"set", "present", "absent"}


def test_scores_are_the_same_whatever_came_before(tmp_path):
    recipe = tiny("small-clip")
    step = make_step(recipe)
    first = step.loss.scores(step.network, toy(4), recipe)
    torch.rand(3)
    assert step.loss.scores(step.network, toy(4), recipe) == first
    assert first["score"] == -first["loss"]


# Diffusion


def test_the_loss_of_diffusion_by_hand():
    recipe = tiny("small-text-diffusion", "objective.untold=0.0")
    step = make_step(recipe)
    network, loss = step.network.eval(), step.loss
    batch = batch_of(toy(2))
    with torch.no_grad():
        found, _ = loss(network, batch)
        total = 0.0
        for index, one in enumerate(toy(2)):
            source = generator(0, index)
            clean = network.autoencoder.encode(one.image[None, :, 0])
            clean = clean * network.scale
            t = int(torch.randint(0, 1000, (1,), generator=source))
            noise = torch.randn(clean.shape, generator=source)
            bar = float(schedule_of(recipe.sampling).alpha_bar[t])
            noisy = bar**0.5 * clean + (1 - bar) ** 0.5 * noise
            velocity = bar**0.5 * noise - (1 - bar) ** 0.5 * clean
            said = loss.texts(replace(batch_of([one]), sources=[source]))
            told = network.described(loss.tokenizer(said))
            answer = network.unet(noisy, torch.tensor([t]), told).sample
            total += float((answer - velocity).square().mean()) / 2
    assert float(found) == pytest.approx(total, rel=1e-4)


def test_captions_are_left_out_of_a_share():
    recipe = tiny("small-text-diffusion", "objective.untold=0.25")
    loss = make_step(recipe).loss
    many = batch_of(toy(2) * 200)
    empty = sum(text == "" for text in loss.texts(many)) / 400
    assert empty == pytest.approx(0.25, abs=0.07)
    with torch.no_grad():
        assert all(loss.texts(many))


def test_the_autoencoder_is_the_one_that_ships_and_stays():
    step = make_step(tiny("small-text-diffusion"))
    names = {name for name, p in step.named_parameters() if p.requires_grad}
    assert not any("autoencoder" in name for name in names)
    assert any("text_encoder" in name for name in names)
    assert not step.network.train().autoencoder.training
    image = toy(1)[0].image[None, :, 0]
    back = step.network.autoencoder(image)
    assert float((back - image).abs().mean()) < 0.35  # it was trained


# The autoencoder


@torch.no_grad()
def test_pictures_come_back_and_the_latent_is_held():
    recipe = load_recipe("small-pair-autoencoder", ["network.channels=8"])
    step = make_step(recipe)
    batch = batch_of(toy(3))
    loss, terms = step.loss(step.network, batch)
    mean, log_variance = step.network.moments(batch.image)
    noise = torch.cat(
        [torch.randn(mean[:1].shape, generator=one) for one in batch_of(toy(3)).sources]
    )
    back = step.network.decode(mean + (0.5 * log_variance).exp() * noise)
    error = float((back - batch.image).abs().mean())
    apart = (mean**2 + log_variance.exp() - 1 - log_variance).sum() / 2 / 3
    held = 0.1 * (float(mean.std()) - 1) ** 2
    assert terms["image"] == pytest.approx(error, rel=1e-4)
    assert terms["holding"] == pytest.approx(held, rel=1e-4)
    wanted = error + held + 1e-6 * float(apart) / batch.image[0].numel()
    assert float(loss) == pytest.approx(wanted, rel=1e-4)
    # What it learns has the shape that the text-to-image model stands on.
    config = load_recipe("small-text-diffusion").network["autoencoder"]
    own = dict(load_recipe("small-pair-autoencoder").network)
    assert own.pop("name") == "kl_autoencoder"
    assert own == config


def test_a_part_of_ones_own_is_drawn_with(tmp_path):
    recipe = load_recipe(
        "small-pair-autoencoder",
        ["length.steps=1", "length.validations=1", "trackers=[]", "patch=[32, 32]"],
    )
    result = run(iter_train(recipe, toy(), None, tmp_path, held_out=toy(2)))
    part = save_part(tmp_path / "part", recipe, result)
    step = make_step(tiny("small-text-diffusion", f"objective.autoencoder={part}"))
    image = toy(1)[0].image[None, :, 0]
    with torch.no_grad():
        own = result.network.encode(image)
    torch.testing.assert_close(step.network.encode(image), own)


# Runs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "share"), [("small-clip", 0.8), ("small-text-diffusion", 0.9)]
)
def test_the_loss_falls(name, share, tmp_path):
    recipe = tiny(name, "length.steps=40", "augmentation.rotate_deg=0")
    result = run(trained(recipe, tmp_path))
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == result.steps == 40
    assert np.mean(losses[-8:]) < share * np.mean(losses[:8])
    assert result.skipped == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_resumed_run_ends_where_an_unbroken_one_does(name, tmp_path):
    recipe = tiny(name, "length.steps=4")
    whole = run(trained(recipe, tmp_path / "a")).network.state_dict()
    work = trained(recipe, tmp_path / "b")
    for progress in work:
        if progress.stage == "validate":
            work.close()  # killed after the first of two validations
    again = run(trained(recipe, tmp_path / "b", resume=True))
    assert again.steps == 4
    for key, value in again.network.state_dict().items():
        torch.testing.assert_close(value, whole[key], msg=key)


# What does not fit


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("small-clip", ["patch=[16, 16]"], "takes images of 32 x 32"),
        ("small-clip", ["network.vocabulary=10"], "set network.vocabulary=66"),
        ("small-text-diffusion", ["network.vocabulary=10"], "set network.vocabulary="),
        ("small-text-diffusion", ["patch=[40, 40]"], "multiples of 32"),
        ("small-text-diffusion", ["sampling.schedule=cosine", "sampling.betas=null"],
         "know the schedules linear"),
        ("small-text-diffusion", ["objective.autoencoder=nowhere"], "nowhere"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(name, more, message):
    with pytest.raises(UserError, match=message):
        make_step(tiny(name, *more))


def test_another_network_is_refused():
    for name in TINY:
        network = build_network("kl_autoencoder", channels=8, groups=8)
        with pytest.raises(UserError, match="needs network caption_"):
            make_loss(tiny(name), network)


def test_a_data_set_of_other_classes_is_refused():
    config = tiny("small-clip").objective
    config.check_classes(NAMES)
    with pytest.raises(UserError, match="recipes prepare small-pair"):
        config.check_classes(("tumour",))


# What is written


def written(name, folder):
    """The folder of a network that hardly learnt, and the network."""
    recipe = tiny(name, "length.steps=1", "length.validations=1")
    result = run(trained(recipe, folder / "run"))
    return save_folder(folder / "folder", recipe, result), result.network, recipe


def test_open_clip_reads_the_folder(tmp_path):
    import open_clip

    folder, network, _ = written("small-clip", tmp_path)
    source = f"local-dir:{folder}"
    model, prepared = open_clip.create_model_from_pretrained(source)
    tokenizer = open_clip.get_tokenizer(source)
    texts = ["a small tumour on a brain mri", "healthy skin"]
    own = make_step(tiny("small-clip")).loss.tokenizer(texts)
    assert torch.equal(tokenizer(texts), own)
    image = toy(2)[1].image[None, :, 0]
    with torch.no_grad():
        found = model.encode_image(image, normalize=True)
        torch.testing.assert_close(found, network.embedded_images(image))
        found = model.encode_text(own, normalize=True)
        torch.testing.assert_close(found, network.embedded_texts(own))
    # And ours, by the same files: tower, tokenizer, and what it is known by.
    loaded = load_clip(f"file:{folder}")
    assert torch.equal(loaded.tokenizer(texts), own)
    torch.testing.assert_close(
        loaded.model.encode_image(image, normalize=True), network.embedded_images(image)
    )
    words = folder / "vocab.txt"
    if not words.is_file():
        words = folder / "tokenizer.json"
    words.write_text(words.read_text().replace("brain", "brein"))
    assert load_clip(f"file:{folder}").identity != loaded.identity
    # Pictures are prepared to the range that they were learnt in.
    from PIL import Image

    grey = Image.new("RGB", (50, 40), (255, 0, 0))
    shown = prepared(grey)
    assert shown.shape == (3, SIZE, SIZE)
    torch.testing.assert_close(shown.amin(), torch.tensor(-1.0))
    torch.testing.assert_close(shown.amax(), torch.tensor(1.0))


@pytest.mark.slow
def test_diffusers_reads_the_folder(tmp_path):
    from diffusers import StableDiffusionPipeline

    folder, network, recipe = written("small-text-diffusion", tmp_path)
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.vae.config.scaling_factor == network.scale
    images = [
        pipeline(
            "a brain mri with a tumour",
            num_inference_steps=2,
            guidance_scale=3.0,
            height=SIZE,
            width=SIZE,
            generator=torch.Generator().manual_seed(seed),
            output_type="np",
        ).images
        for seed in (0, 0, 1)
    ]
    assert images[0].shape == (1, SIZE, SIZE, 3)
    assert np.array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2])
    # What was learnt is what is read: latents, texts, and the schedule.
    image = toy(1)[0].image[None, :, 0]
    with torch.no_grad():
        mean = pipeline.vae.encode(image).latent_dist.mean * network.scale
    torch.testing.assert_close(mean, network.encode(image))
    content = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    schedule, kind = schedule_from(content)
    own = schedule_of(recipe.sampling)
    torch.testing.assert_close(schedule.alpha_bar, own.alpha_bar)
    torch.testing.assert_close(
        pipeline.scheduler.alphas_cumprod.double(), own.alpha_bar, rtol=1e-4, atol=1e-6
    )
    assert kind == "v"


@pytest.mark.slow
def test_the_text_diffusion_of_the_house_reads_the_folder(tmp_path):
    from diffseg.models.text_diffusion import load_text_diffusion

    folder, network, _ = written("small-text-diffusion", tmp_path)
    model = load_text_diffusion(f"file:{folder}")
    assert (model.size, model.factor) == (SIZE, network.autoencoder.factor)
    tokenizer = make_step(tiny("small-text-diffusion")).loss.tokenizer
    texts = ["a tumour in the upper left part", ""]
    with torch.no_grad():
        told = network.described(tokenizer(texts))
    torch.testing.assert_close(model.embed(texts), told)
    image = toy(1)[0].image[None, :, 0]
    torch.testing.assert_close(model.encode(image / 2 + 0.5), network.encode(image))


@pytest.mark.parametrize("name", TINY)
def test_the_card_names_sets_licences_and_words(name, tmp_path):
    folder, _, _ = written(name, tmp_path)
    text = (folder / "README.md").read_text(encoding="utf-8")
    for word in ("CC BY-NC-SA 4.0", "research and education only", "BBBC038"):
        assert word in text
    assert "taken from the masks of the split train" in text
    assert "glioma" in text
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in (".bin", ".pt")]


@pytest.mark.parametrize("name", TINY)
def test_what_ships_would_fit(name):
    recipe = load_recipe(name)
    config = dict(recipe.network)
    with torch.device("meta"):
        network = build_network(config.pop("name"), **config)
    parts = [getattr(network, part, None) for part in ("clip", "unet", "text_encoder")]
    for part in filter(None, parts):
        count = sum(parameter.numel() for parameter in part.parameters())
        assert 4 * count < 16e6
    make_step(recipe)  # sizes and words fit each other
