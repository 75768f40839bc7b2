"""A field for the Dice that a new version of a model may lose."""

from __future__ import annotations

from qtpy.QtWidgets import QDoubleSpinBox

from napari_diffseg.widgets.parts import named


def dice_field(handle: str, of: str, value: float) -> QDoubleSpinBox:
    """Make a field of that handle.

    Parameters
    ----------
    handle : str
    of : str
        What may lose it, in the words of the tooltip.
    value : float
    """
    tip = f"Dice that {of} may lose on held-out cases; more, and the new version "
    made = named(QDoubleSpinBox(), handle, tip + "is refused")
    made.setRange(0, 0.5)
    made.setDecimals(3)
    made.setSuffix(" Dice")
    made.setSingleStep(0.005)
    made.setValue(value)
    return made
