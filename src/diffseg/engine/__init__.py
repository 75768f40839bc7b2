"""Run a job elsewhere: in a local worker process, or on a scheduler's workers."""
