"""Tokens that the chat template of Qwen3-VL writes around turns and media; no text may contain them. No torch here."""

TURN_START, TURN_END, TEXT_END = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
PADS = {"video": "<|video_pad|>", "image": "<|image_pad|>"}
RESERVED_TOKENS = (TURN_START, TURN_END, TEXT_END, VISION_START, VISION_END, "<|vision_pad|>", *PADS.values())
