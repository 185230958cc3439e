"""What labelling a clip takes, by rules of thumb that a pilot replaces by counts: requests and tokens."""

import json
from collections.abc import Mapping
from typing import Any

Spec = Mapping[str, Any]
# Pixels that one token stands for: 28 x 28 in the models of the Qwen-VL family; servers of others count alike.
PIXELS_PER_TOKEN = 28 * 28
ASPECT = 9 / 16  # the height of a usual frame by its width
PROMPT_TOKENS = 250  # of a packaged prompt and the form of its reply
CHARACTERS_PER_TOKEN = 4
CAPTION_TOKENS, DESCRIPTION_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS, REASON_TOKENS = 250, 150, 60, 15, 60


def per_clip(spec: Spec) -> tuple[int, int, int]:
    """Return the requests, the input tokens and the output tokens of a clip."""
    images = spec["num_frames"] * round(spec["longest_side_pixels"] ** 2 * ASPECT / PIXELS_PER_TOKEN)
    given = len(json.dumps(spec["questions"])) // CHARACTERS_PER_TOKEN
    steps, made_up, num_given = spec["steps"], spec["questions_per_clip"], len(spec["questions"])
    reason = REASON_TOKENS if spec["reasoning"] else 0
    parts: list[tuple[int, int]] = []  # input and output tokens of each request
    if "captions" in steps:
        parts.append((PROMPT_TOKENS + images, CAPTION_TOKENS))
    if "description" in steps:
        parts.append((PROMPT_TOKENS + CAPTION_TOKENS, DESCRIPTION_TOKENS))
    if "questions" in steps and num_given:
        parts.append((PROMPT_TOKENS + images + given, num_given * (ANSWER_TOKENS + reason)))
    if "questions" in steps and made_up:
        parts.append((PROMPT_TOKENS + DESCRIPTION_TOKENS, made_up * (QUESTION_TOKENS + reason)))
    if "questions" in steps and spec["second_pass"]["enable"]:
        asked = given + made_up * QUESTION_TOKENS
        parts.append((PROMPT_TOKENS + images + asked, (num_given + made_up) * ANSWER_TOKENS))
    return len(parts), sum(tokens for tokens, _ in parts), sum(tokens for _, tokens in parts)
