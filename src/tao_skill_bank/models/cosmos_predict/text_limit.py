"""How much of a prompt the text encoder reads; what is longer is cut."""

MAX_TOKENS = 512  # of the conversation; prompts are padded or truncated to it
TEMPLATE_TOKENS = 32  # of the conversation around a prompt, a few more than its system turn and marks take
PROMPT_TOKENS = MAX_TOKENS - TEMPLATE_TOKENS
