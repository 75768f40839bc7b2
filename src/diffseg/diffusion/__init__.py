"""Pure functions over tensors: schedules, parameterisations, samplers, noise."""

from diffseg.diffusion.noise import coherent_noise, generator, member_noise
from diffseg.diffusion.parameterisation import Prediction, target, to_eps, to_x0
from diffseg.diffusion.samplers import ddim, ddpm, dpm_solver_pp, one_step, restart
from diffseg.diffusion.schedules import (
    NoiseSchedule,
    noise_schedule,
    schedule_of,
    zero_terminal_snr,
)

__all__ = [
    "NoiseSchedule",
    "Prediction",
    "coherent_noise",
    "ddim",
    "ddpm",
    "dpm_solver_pp",
    "generator",
    "member_noise",
    "noise_schedule",
    "one_step",
    "restart",
    "schedule_of",
    "target",
    "to_eps",
    "to_x0",
    "zero_terminal_snr",
]
