"""From image-level labels to masks: the stages of CLDF, one after another."""
