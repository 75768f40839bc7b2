"""A recipe of CLDF's chain that goes through in seconds."""

from __future__ import annotations

from typing import Any

SMALL = {"channels": 32, "multipliers": [1, 2], "blocks": 1, "attention": []}
STAGE = {"share": 0.3, "steps": 6}
RECIPE: dict[str, Any] = {
    "name": "blobs-weak",
    "title": "Blobs, from labels alone",
    "method": "cldf",
    "network": {
        "name": "cldf",
        "diffusion": {"heads": 1, **SMALL},
        "classifier": {"size": 32, "head_channels": 16, **SMALL},
        "blocks": [1, 3],
        "timesteps": [50, 100, 150],
        "width": 8,
    },
    "patch": [32, 32],
    "preparation": {
        "dims": 2,
        "channels": ["brightness"],
        "intensity": {"kind": "range", "low": 0, "high": 255, "to": [-1, 1]},
    },
    "sampling": {
        "prediction": "eps", "schedule": "linear", "steps": 2, "members": 2
    },
    "objective": {
        "name": "cldf",
        "diffusion": {**STAGE, "objective": {"name": "class_diffusion"}},
        "classifier": {**STAGE, "objective": {"name": "noisy_classification"}},
        "cam": {
            **STAGE,
            "objective": {"name": "classification"},
            "source": "layer_cam_stages",
        },
        "gradients": {"timesteps": [50, 150]},
        "selection": {
            # A classifier of six steps has flat activation maps.
            "fusion": "gradient",
            "cam": {"kind": "percentile", "value": 60},
            "gradient": {"kind": "percentile", "value": 60},
            "foreground": 40,
            "background": 80,
        },
        "decoder": {"epochs": 2, "pixels": 200, "learning_rate": 0.05},
    },
    "optimiser": {"batch": 4, "learning_rate": 1.0e-3, "precision": "fp32"},
    "length": {"validations": 1, "validation_cases": 6},
    "trackers": [],
    "card": {
        "modality": "drawing",
        "licence": "CC0",
        "data": "Bright discs.",
        "intended_use": "A test.",
        "limits": ["It knows discs alone."],
    },
}  # fmt: skip
