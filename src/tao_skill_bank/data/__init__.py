"""Training data on disk: annotations, captioned clips, prompts and their media."""
