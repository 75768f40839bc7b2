"""Objects that outlive a preview, kept out of the way of the garbage collector."""

from __future__ import annotations

import gc


class Kept:
    """Sets aside all objects that are there, from the first `begin` to the last `end`.

    napari collects all garbage whenever a layer is removed: among the objects of a
    window with its libraries that takes up to half a second. Removing the layer of a
    preview only has to find what came after the preview began.
    """

    def __init__(self) -> None:
        self._frozen = False

    def begin(self) -> None:
        """Set aside what is there now; nothing where that was done."""
        # Not where another part of the program has set objects aside, for good.
        if not self._frozen and not gc.get_freeze_count():
            self._frozen = True
            gc.freeze()

    def end(self) -> None:
        """Give it back to the collector."""
        if self._frozen:
            self._frozen = False
            gc.unfreeze()
