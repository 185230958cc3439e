"""What people train on, as it lies on disk: annotations, captioned clips, prompts and the media that they name."""
