"""Post-training quantization of Qwen3-VL into the checkpoint format of compressed-tensors, which vLLM loads."""
