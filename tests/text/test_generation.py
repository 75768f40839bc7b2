"""Images drawn by a text-to-image model: the same seed, the same image."""

from __future__ import annotations

import pytest
import torch
from beside import beside
from diffusers import DDIMScheduler

from diffseg.diffusion import generator
from diffseg.diffusion.guidance import guided
from diffseg.errors import UserError
from diffseg.models.text_diffusion import load_text_diffusion
from diffseg.progress import run
from diffseg.segmenters.text.generation import Drawing, iter_draw_images

tiny = beside(__file__, "tiny_diffusion")

SMALL = {"size": (32, 48), "kept_size": None, "steps": 3, "guidance": 5.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tiny.save_tiny_diffusion(tmp_path_factory.mktemp("tiny"))
    return load_text_diffusion(f"file:{folder}")


def drawn(model, prompt="a cat", seed=0, **how):
    return run(iter_draw_images(model, prompt, seed, Drawing(**(SMALL | how))))


def test_guidance_by_hand():
    draw = torch.Generator().manual_seed(0)
    x, context, null = torch.randn(3, 2, 4, generator=draw)

    def denoise(noisy, t, text):
        return noisy * t[:, None] + text

    t = torch.tensor([2, 3])
    answer = guided(denoise, context, null[:1], 7.0)(x, t)
    plain, text = x * t[:, None] + null[:1], x * t[:, None] + context
    torch.testing.assert_close(answer, plain + 7 * (text - plain))
    torch.testing.assert_close(guided(denoise, context, null, 1.0)(x, t), text)
    torch.testing.assert_close(
        guided(denoise, context, null[:1], 0.0)(x, t), plain, atol=1e-6, rtol=1e-5
    )


def test_the_same_seed_draws_the_same_image_and_another_another(model):
    first = drawn(model, images=2)
    assert first.shape == (2, 3, 32, 48)
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, drawn(model, images=2))
    assert not torch.equal(first, drawn(model, images=2, seed=1))
    assert not torch.equal(first[0], first[1])


def test_batches_change_no_image_and_more_keep_the_first(model):
    whole = drawn(model, images=3, batch=3)
    single = drawn(model, images=3, batch=1)
    torch.testing.assert_close(whole, single, atol=1e-4, rtol=1e-3)
    fewer = drawn(model, images=2, batch=2)
    torch.testing.assert_close(whole[:2], fewer, atol=1e-4, rtol=1e-3)


def test_text_and_guidance_matter(model):
    plain = drawn(model, images=1)
    assert not torch.equal(plain, drawn(model, "a dog", images=1))
    assert not torch.equal(plain, drawn(model, images=1, guidance=1.0))
    assert not torch.equal(plain, drawn(model, images=1, negative="a dog"))
    # Guided away from itself, a text does nothing.
    same = drawn(model, images=1, negative="a cat")
    once = drawn(model, images=1, guidance=1.0)
    torch.testing.assert_close(same, once, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_chain_is_diffusers_own(tmp_path, kind):
    """DDIM with trailing timesteps, from the same noise, as diffusers steps it."""
    folder = tiny.save_tiny_diffusion(tmp_path, prediction=kind)
    model = load_text_diffusion(f"file:{folder}")
    # Of 4 steps, or any number that divides 1000, it and we keep the same timesteps.
    how = Drawing(**(SMALL | {"images": 1, "steps": 4}))
    image = run(iter_draw_images(model, "a cat", 0, how))
    scheduler = DDIMScheduler.from_pretrained(
        folder / "scheduler", timestep_spacing="trailing", set_alpha_to_one=True
    )
    scheduler.set_timesteps(how.steps)
    text = model.embed(["", "a cat"])
    x = torch.randn(1, *model.latent_shape(how.size), generator=generator(0, 0))
    for t in scheduler.timesteps:
        plain, with_text = model.unet(torch.cat([x, x]), t, text).sample.chunk(2)
        output = plain + how.guidance * (with_text - plain)
        x = scheduler.step(output, t, x).prev_sample
    torch.testing.assert_close(model.decode(x), image, atol=1e-4, rtol=1e-3)


def test_images_are_resized_within_their_range(model):
    images = drawn(model, images=2, kept_size=(40, 64), batch=1)
    assert images.shape == (2, 3, 40, 64)
    assert images.min() >= 0
    assert images.max() <= 1
    same = drawn(model, images=2, kept_size=(32, 48))
    torch.testing.assert_close(same, drawn(model, images=2))


def test_progress_rises_to_the_end_and_can_be_closed(model):
    how = Drawing(images=3, batch=2, **SMALL)
    work = iter_draw_images(model, "a cat", 0, how)
    signs = []
    run(work, signs.append)
    shares = [sign.fraction for sign in signs]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(signs) == 2 * 3 + 1
    assert {sign.stage for sign in signs} == {"draw"}
    again = iter_draw_images(model, "a cat", 0, how)
    next(again)
    again.close()


def test_the_defaults_are_the_papers():
    how = Drawing()
    assert (how.images, how.steps, how.guidance) == (50, 45, 10.0)
    assert (how.size, how.kept_size) == ((384, 384), (512, 512))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size": (30, 48)}, "multiples of 8"),
        ({"steps": 0}, "steps is 0"),
        ({"images": 0}, "at least 1"),
        ({"prompt": "cat " * 90}, "tokens"),
    ],
)
def test_what_cannot_be_drawn_is_refused(model, wrong, told):
    with pytest.raises(UserError, match=told):
        drawn(model, **wrong)
