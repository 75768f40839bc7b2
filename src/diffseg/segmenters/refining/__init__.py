"""Class maps made finer by the image that they are of: what several methods share."""
