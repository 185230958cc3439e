"""Model checkpoints as files: their URIs, folders, safetensors headers and adapters. Nothing here needs torch."""
