"""Fine-tuning a model on a project's corrections, behind a gate.

`job` says what is asked for, `outlook` what it would learn from, and `process` carries
it out beside a window; these load without torch. `run` does the work: `gathering`
takes the masks out of the project, `recipe` puts the recipe together, the trainer
trains, `gate` compares parent and child on held-out cases, and `keeping` makes the
child a version or refuses it.
"""
