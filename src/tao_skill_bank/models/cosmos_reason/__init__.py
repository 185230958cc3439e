"""Cosmos-Reason: supervised fine-tuning of Qwen3-VL checkpoints on video question answering."""
