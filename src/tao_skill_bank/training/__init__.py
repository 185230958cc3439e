"""Torch code that every trainer shares, and what runs next to a trainer in its job: launcher, pod."""
