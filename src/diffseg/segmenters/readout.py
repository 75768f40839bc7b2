"""What a network puts out, read as an estimate of the clean mask.

The card's sampling says what the output is. The noisy mask and its estimates lie in
the card's `mask_range`; with one channel for each class but background, background is
what the others leave.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffseg.diffusion import NoiseSchedule, schedule_of, to_x0
from diffseg.domain import ModelCard, Sampling
from diffseg.errors import UserError
from diffseg.networks.conditioned import Conditioned


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """The way from a network's raw output to the mask and to probabilities.

    Parameters
    ----------
    sampling : Sampling
    schedule : NoiseSchedule
    channels : int
        M, of the noisy mask.
    background : bool
        Whether the first of them is the background.
    further : int
        How many channels at the end of the output are no mask, and kept beside it.
    """

    sampling: Sampling
    schedule: NoiseSchedule
    channels: int
    background: bool
    further: int = 0

    @classmethod
    def of(cls, card: ModelCard, network: Conditioned, further: int = 0) -> Readout:
        """Read the card, and hold it against its network.

        Raises
        ------
        UserError
            The network has other mask channels than the card's classes need, learns
            no variance where the card says so, or predicts noise where there is
            nothing else.
        """
        sampling, channels = card.sampling, network.mask_channels
        schedule = schedule_of(sampling)
        foreground = len(card.labels)
        fitting = {foreground}
        if sampling.prediction == "classes":
            fitting.add(foreground + 1)
        if channels not in fitting:
            wanted = " or ".join(map(str, sorted(fitting)))
            raise UserError(
                f"model {card.id}: its network has {channels} mask channels; "
                f"prediction {sampling.prediction} of {foreground} classes wants "
                f"{wanted}"
            )
        background = channels == foreground + 1
        readout = cls(sampling, schedule, channels, background, further)
        if readout.places_variance and not network.learned_variance:
            raise UserError(
                f"model {card.id}: variance is learned, but its network learns none; "
                "give fixed_small or fixed_large"
            )
        if sampling.prediction == "eps" and schedule.alpha_bar[-1] == 0:
            raise UserError(
                f"model {card.id}: schedule {sampling.schedule} ends in noise alone, "
                "of which eps says nothing; predict x0 or v, or take another schedule"
            )
        return readout

    @property
    def places_variance(self) -> bool:
        """Whether steps need the output's second half; see `diffusion.ddpm`."""
        return self.sampling.sampler == "ddpm" and self.sampling.variance == "learned"

    @property
    def width(self) -> int:
        """Channels of an `estimate`."""
        return self.channels * (2 if self.places_variance else 1)

    def read(self, raw: Tensor) -> Tensor:
        """What may be blended over tiles, of a raw output (B, C, *S).

        Of classes their probabilities: softmax where background is a channel, else
        the sigmoid of each. All else is linear in the mask and stays as it is.

        Returns
        -------
        (B, width + further, *S) float32 Tensor
        """
        mask = raw[:, : self.channels].float()
        if self.sampling.prediction == "classes":
            mask = mask.softmax(1) if self.background else mask.sigmoid()
        parts = [mask, raw[:, self.channels : self.width].float()]
        if self.further:
            parts.append(raw[:, -self.further :].float())
        return (
            torch.cat(parts, 1) if self.width + self.further > self.channels else mask
        )

    def estimate(self, output: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """Clean mask in the mask's range; then, if learned, the variance's place.

        Parameters
        ----------
        output : (B, width + further, *S) Tensor
            From `read`.
        noisy : (B, M, *S) Tensor
        t : (B,) int64 Tensor

        Returns
        -------
        (B, width, *S) Tensor
        """
        sampling = self.sampling
        mask, place = output[:, : self.channels], output[:, self.channels : self.width]
        if sampling.prediction == "classes":
            low, high = sampling.mask_range
            x0 = (high - low) * mask + low
        else:
            x0 = to_x0(sampling.prediction, mask, noisy, t, self.schedule)
            if sampling.clip:
                x0 = x0.clamp(*(sampling.clip_range or sampling.mask_range))
        return torch.cat([x0, place], 1) if self.places_variance else x0

    def shares(self, x0: Tensor) -> Tensor:
        """Probability of each channel, (B, M, *S), of a mask in the mask's range."""
        low, high = self.sampling.mask_range
        shares = (x0 - low) / (high - low)
        return shares if self.background else shares.clamp(0, 1)

    def completed(self, shares: Tensor) -> Tensor:
        """Class probabilities (B, K, *S), background first, of each channel's.

        Where foreground classes claim more than 1 together, they share it in
        proportion.
        """
        if self.background:
            return shares
        shares = shares / shares.sum(1, keepdim=True).clamp(min=1)
        rest = (1 - shares.sum(1, keepdim=True)).clamp(min=0)
        return torch.cat([rest, shares], 1)
