"""One side of the comparison of trainers, in a process of its own.

``python -m diffseg_training.benchmark_sides ours PRECISION DEVICE`` or
``... public CHECKOUT DEVICE``. It says ``ready`` after a warm-up; then, for each line
it is sent, it takes as many steps as the line says and answers with a line of JSON.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import json
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffseg.cli.benchmarks.timing import synchronise
from diffseg.diffusion import generator
from diffseg.volume.quiet import nibabel
from diffseg_training.descent import Descent
from diffseg_training.machines import make_accelerator
from diffseg_training.pace import Pace
from diffseg_training.recipe import Recipe, load_recipe
from diffseg_training.sampling import Draws
from diffseg_training.trainer import make_step
from diffseg_training.training_set import Example

RECIPE = "ph2-ensemdiff"
CASES = 40
WARM_UP = 4
_BORDER = 8  # pixels that the public loader cuts off each side


def made_image(key: int, channels: int, side: int) -> tuple[Tensor, Tensor]:
    """A disc brighter than its noise (C, Y, X), and its classes (Y, X)."""
    source = generator(key)
    middle = side * (0.35 + 0.3 * torch.rand(2, 1, 1, generator=source))
    along = torch.arange(side, dtype=torch.float32)
    far = (along[:, None] - middle[0]) ** 2 + (along[None] - middle[1]) ** 2
    classes = (far < (side / 4) ** 2).to(torch.uint8)
    noise = torch.randn((channels, side, side), generator=source)
    return (classes + 0.3 * noise).clamp(-1, 1), classes


def our_recipe(precision: str) -> Recipe:
    """The recipe that is measured, which never ends."""
    changed = (f"optimiser.precision={precision}", "trackers=[]")
    return load_recipe(RECIPE, [*changed, "length.steps=1000000000"])


def our_descent(recipe: Recipe, device: str, folder: Path) -> Descent:
    """Our trainer's step, its data loading included, on made images."""
    channels, side = int(recipe.network["image_channels"]), recipe.patch[-1]
    examples = []
    for key in range(CASES):
        image, classes = made_image(key, channels, side)
        examples.append(Example(f"case{key}", image[:, None], classes[None], dims=2))
    accelerator = make_accelerator(recipe, device, folder)
    step, pace = make_step(recipe), Pace(recipe.length)
    return Descent(recipe, step, Draws(recipe, examples), accelerator, pace)


def write_public_data(folder: Path, channels: int, side: int) -> list[str]:
    """Made images as the public loader reads them; names of the files it needs."""
    names = ["t1", "t1ce", "t2", "flair"]
    nib, wide = nibabel(), side + 2 * _BORDER
    for key in range(CASES):
        image, classes = made_image(key, len(names), wide)
        case = folder / f"{key:06}"
        case.mkdir(parents=True)
        for name, plane in zip([*names, "seg"], [*image, classes], strict=True):
            file = case / f"brats_train_{key:03}_{name}_{key:03}_w.nii.gz"
            nib.save(nib.Nifti1Image(plane.numpy(), torch.eye(4).numpy()), file)
    return [*names[:channels], "seg"]


class _Silent:
    """Takes every call and answers nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


def stand_in(name: str) -> None:
    """Let ``import name`` find a module of silent names if it is not installed."""
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    module: Any = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.Visdom = _Silent
    sys.modules[name] = module


class PublicLoop:
    """The public EnsemDiff trainer: its network, loader, loss, optimiser, averages.

    Only what it draws curves with (visdom) and writes clouds with (blobfile) is
    replaced, if it is not installed. Its precision is its default, float32.

    Parameters
    ----------
    checkout : Path
        Of JuliaWolleb/Diffusion-based-Segmentation.
    device : str
    folder : Path
        For its data and its log.
    """

    def __init__(self, checkout: Path, device: str, folder: Path) -> None:
        for name in ("visdom", "blobfile"):
            stand_in(name)
        sys.path.insert(0, str(checkout))
        torch.distributed.init_process_group(
            "nccl" if device.startswith("cuda") else "gloo",
            store=torch.distributed.HashStore(),  # type: ignore[attr-defined]
            rank=0,
            world_size=1,
        )
        part = {
            name: importlib.import_module(f"guided_diffusion.{name}")
            for name in (
                "bratsloader", "dist_util", "logger", "resample", "script_util",
                "train_util", "unet",
            )
        }  # fmt: skip
        part["logger"].configure(dir=str(folder / "log"), format_strs=["log"])
        recipe = our_recipe("fp32")
        network = public_network(part["unet"], recipe)
        network.to(part["dist_util"].dev())
        diffusion = part["script_util"].create_gaussian_diffusion(learn_sigma=True)
        channels, side = int(recipe.network["image_channels"]), recipe.patch[-1]
        wanted = write_public_data(folder / "data", channels, side)
        data = part["bratsloader"].BRATSDataset(str(folder / "data"), test_flag=False)
        data.seqtypes = wanted  # as many channels as our network sees
        self.batch = recipe.optimiser.batch
        self.loader: Any = torch.utils.data.DataLoader(
            data, batch_size=self.batch, shuffle=True
        )
        self._batches = iter(self.loader)
        self._logger = part["logger"]
        self.loop = part["train_util"].TrainLoop(
            model=network, classifier=None, diffusion=diffusion, data=self._batches,
            dataloader=self.loader, batch_size=self.batch, microbatch=-1, lr=1e-4,
            ema_rate="0.9999", log_interval=100, save_interval=5000,
            resume_checkpoint="",
            schedule_sampler=part["resample"].create_named_schedule_sampler(
                "uniform", diffusion, 1000
            ),
        )  # fmt: skip
        self.waited = 0.0

    def step(self) -> None:
        """One turn of its `run_loop`, but for the writing of checkpoints."""
        began = time.perf_counter()
        try:
            batch, cond = next(self._batches)
        except StopIteration:
            self._batches = iter(self.loader)
            batch, cond = next(self._batches)
        self.waited += time.perf_counter() - began
        self.loop.run_step(batch, cond)
        if self.loop.step % self.loop.log_interval == 0:
            self._logger.dumpkvs()
        self.loop.step += 1


def public_network(unet: Any, recipe: Recipe) -> torch.nn.Module:
    """The public network at the configuration of the recipe."""
    ours = recipe.network
    network: torch.nn.Module = unet.UNetModel(
        image_size=recipe.patch[-1],
        in_channels=ours["image_channels"] + ours["mask_channels"],
        model_channels=ours["channels"],
        out_channels=2 * ours["mask_channels"],
        num_res_blocks=ours["blocks"],
        attention_resolutions=tuple(ours["attention"]),
        channel_mult=tuple(ours["multipliers"]),
        num_heads=ours["heads"],
    )
    return network


def serve(side: str, what: str, device: str, folder: Path) -> None:
    """Take as many steps as each line of the standard input says."""
    step: Callable[[], None]
    if side == "ours":
        descent = our_descent(our_recipe(what), device, folder)
        step = descent.descend
        network: torch.nn.Module = descent.step.network

        def waited() -> float:
            return descent.loader.waited
    else:
        public = PublicLoop(Path(what), device, folder)
        step, network = public.step, public.loop.model

        def waited() -> float:
            return public.waited

    for _ in range(WARM_UP):
        step()
    print("ready", sum(p.numel() for p in network.parameters()), flush=True)
    for line in sys.stdin:
        synchronise(device)
        before, began = waited(), time.perf_counter()
        for _ in range(int(line)):
            step()
        synchronise(device)
        told = {"seconds": time.perf_counter() - began, "waited": waited() - before}
        print(json.dumps(told), flush=True)
    if side == "ours":
        descent.loader.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        serve(sys.argv[1], sys.argv[2], sys.argv[3], Path(place))
