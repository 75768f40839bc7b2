"""A cache of keys and values as two linear layers that can learn (DiCLIP, equation 12).

``W2 phi(W1 f + b1) + b2`` for every patch token f: the rows of W1 are the keys, the
columns of W2 their values, and both biases are 0, so that before it has learnt anything
the adapter retrieves what the cache does. Prompts are more rows and columns, of no
class, that begin with random numbers.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from diffseg.domain.cache_keys import Normalisation

Activation = Literal["relu", "exp"]
Biases = Literal["zeros", "uniform"]


def normalised(
    patches: Tensor,
    class_token: Tensor | None = None,
    normalisation: Normalisation = "patch",
) -> Tensor:
    """Features as keys are made of them, and as they are compared with keys.

    Parameters
    ----------
    patches : (B, N, E) Tensor
        Projected patch tokens.
    class_token : (B, E) Tensor, optional
        Of the same images; ``"image"`` alone looks at it.
    normalisation : {"patch", "image"}
        ``"patch"``: each token is of length 1, so that products are cosines, as in the
        paper. ``"image"``: each channel is of length 1 over the tokens of its image,
        the class token among them, as in the published code, which has it from CLIP
        Surgery. A cache made in one way is of no use in the other.

    Returns
    -------
    (B, N, E) Tensor

    Raises
    ------
    ValueError
        ``"image"`` without a class token.
    """
    if normalisation == "patch":
        unit: Tensor = functional.normalize(patches, dim=-1)
        return unit
    if class_token is None:
        raise ValueError("normalisation image needs the class token")
    tokens = torch.cat([class_token[:, None], patches], dim=1)
    whole: Tensor = functional.normalize(tokens, dim=1)
    return whole[:, 1:]


def activated(
    similarity: Tensor, activation: Activation = "relu", sharpness: float = 5.5
) -> Tensor:
    """How much a key counts for its similarity: phi of equation 2.

    Parameters
    ----------
    similarity : Tensor
    activation : {"relu", "exp"}
        ``max(s, 0)``, which two linear layers can learn on; or ``exp(-b (1 - s))`` of
        Tip-Adapter (Zhang et al. 2022), which favours the nearest keys.
    sharpness : float
        b, of ``"exp"`` alone.
    """
    if activation == "relu":
        return similarity.relu()
    return torch.exp(sharpness * (similarity - 1))


class CacheAdapter(nn.Module):
    """Retrieval from a cache that can be taught.

    Parameters
    ----------
    features : int
        Channels E of a patch token.
    classes : int
        Foreground classes K.
    keys : int
        Keys M of the cache.
    prompts : int
        Keys P that belong to no class at first.
    normalisation : {"patch", "image"}
        Of the features, that of the cache; see `normalised`.
    activation : {"relu", "exp"}
        See `activated`.
    sharpness : float
        Of ``"exp"``.
    dropout : float
        Of the keys' similarities, while learning.
    logit_dropout : float
        Of the logits; 0.1 in the published code, none in the paper.
    prompt_std : float, optional
        Standard deviation of the prompts' keys and values, truncated at twice that.
        None: ``E ** -0.5``, which makes a prompt about as long as a key. The published
        code has 1: prompts then outweigh the cache.
    biases : {"zeros", "uniform"}
        Zeros, as in the paper, or torch's own random ones, as in the published code.
    """

    def __init__(
        self,
        features: int = 512,
        classes: int = 20,
        keys: int = 220,
        prompts: int = 92,
        normalisation: Normalisation = "patch",
        activation: Activation = "relu",
        sharpness: float = 5.5,
        dropout: float = 0.1,
        logit_dropout: float = 0.0,
        prompt_std: float | None = None,
        biases: Biases = "zeros",
    ) -> None:
        super().__init__()
        if min(features, classes) < 1 or min(keys, prompts) < 0 or keys + prompts < 1:
            raise TypeError(
                f"features {features}, classes {classes}, keys {keys}, prompts "
                f"{prompts}; give one feature, class and key or more"
            )
        for name, given, known in (
            ("normalisation", normalisation, get_args(Normalisation)),
            ("activation", activation, get_args(Activation)),
            ("biases", biases, get_args(Biases)),
        ):
            if given not in known:
                raise TypeError(f"{name} is {given!r}; give {' or '.join(known)}")
        self.classes, self.keys, self.prompts = classes, keys, prompts
        self.normalisation: Normalisation = normalisation
        self.activation: Activation = activation
        self.sharpness = sharpness
        self.similarity = nn.Linear(features, keys + prompts)
        self.answer = nn.Linear(keys + prompts, classes + 1)
        self.dropout, self.logit_dropout = (
            nn.Dropout(dropout),
            nn.Dropout(logit_dropout),
        )
        std = features**-0.5 if prompt_std is None else prompt_std
        for layer in (self.similarity, self.answer):
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
            if biases == "zeros":
                nn.init.zeros_(layer.bias)

    @torch.no_grad()
    def begin_with(self, keys: Tensor, values: Tensor) -> None:
        """Put a cache into the first rows and columns; the prompts stay as they are.

        Parameters
        ----------
        keys : (M, E) Tensor
            As they are compared with features: of length 1 for ``"patch"``.
        values : (M, K + 1) Tensor
            Background first.

        Raises
        ------
        ValueError
            The cache is of another size than the adapter.
        """
        count = len(keys)
        wanted = (self.keys, self.similarity.in_features)
        if tuple(keys.shape) != wanted:
            raise ValueError(f"keys {tuple(keys.shape)} for an adapter of {wanted}")
        if tuple(values.shape) != (count, self.classes + 1):
            raise ValueError(
                f"values {tuple(values.shape)} for {count} keys and {self.classes} "
                "classes and background"
            )
        self.similarity.weight[:count] = keys.to(self.similarity.weight)
        self.answer.weight[:, :count] = values.T.to(self.answer.weight)

    def forward(self, patches: Tensor, class_token: Tensor | None = None) -> Tensor:
        """Logits (B, N, K + 1) of patch tokens (B, N, E), background first.

        Parameters
        ----------
        patches : (B, N, E) Tensor
            Not normalised yet.
        class_token : (B, E) Tensor, optional
            For normalisation ``"image"``.
        """
        features = normalised(patches, class_token, self.normalisation)
        hidden = activated(self.similarity(features), self.activation, self.sharpness)
        logits: Tensor = self.logit_dropout(self.answer(self.dropout(hidden)))
        return logits


def build(**config: object) -> CacheAdapter:
    """Build a `CacheAdapter`."""
    return CacheAdapter(**config)  # type: ignore[arg-type]
