"""Subcommands of `diffseg` that change or judge weights: one file each."""
