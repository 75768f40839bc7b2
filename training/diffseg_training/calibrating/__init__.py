"""Calibrating a model on what a project's annotators reviewed.

`job` says what is asked for, `reviewed` which cases it would take, and `process`
carries it out beside a window; these load without torch. `run` does the work.
"""
