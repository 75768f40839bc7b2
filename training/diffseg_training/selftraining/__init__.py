"""A segmenter learns from the weak masks of a project, behind a gate.

Called self-training in the literature: a model's own masks, filtered by how sure it is,
teach another one. `choosing` says which masks and voxels are taken, `gathering` takes
them and the corrections out of the project, `job` and `outlook` say what is asked and
what is there; these load without torch. `run` does the work, with the books, the gate
and the resuming of `diffseg_training.finetuning`.
"""
