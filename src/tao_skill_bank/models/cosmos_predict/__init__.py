"""Cosmos-Predict2.5 for robot video: LoRA and DoRA of the diffusion transformer."""
