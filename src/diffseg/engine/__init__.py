"""Run a job elsewhere: in a local worker process, or on a scheduler's workers.

Loads neither torch nor Dask; the worker's process does the one, `Engine.start` the
other.
"""

from diffseg.engine.catalogue import find_model, list_models
from diffseg.engine.engine import Engine
from diffseg.engine.events import (
    Advanced,
    Event,
    Failed,
    Finished,
    Job,
    Listener,
    Machine,
    Plan,
    Planned,
    Stopped,
)

__all__ = [
    "Advanced",
    "Engine",
    "Event",
    "Failed",
    "Finished",
    "Job",
    "Listener",
    "Machine",
    "Plan",
    "Planned",
    "Stopped",
    "find_model",
    "list_models",
]
