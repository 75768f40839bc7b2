"""The annotator's work: the mask in hand, and the journal that keeps it."""
