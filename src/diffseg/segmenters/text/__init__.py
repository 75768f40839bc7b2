"""Masks from words: a vision-language model, a diffusion model, and a cache of both."""
