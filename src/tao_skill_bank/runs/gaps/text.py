"""What of a question and of an answer is compared."""

from functools import lru_cache

MARKERS = ("<video>", "<image>")  # where a question shows its media
ENDING = "answer with yes or no"


def normalised(text: str) -> str:
    """Return the text by which answers are compared exactly."""
    return text.lower().strip()


@lru_cache(maxsize=4096)
def plain(question: str) -> str:
    """Return what identifies a question: without media markers and a trailing "Answer with yes or no."."""
    if "<" in question:
        for marker in MARKERS:
            question = question.replace(marker, " ")
    words = " ".join(question.split())
    bare = words.rstrip(" .!?")
    if bare[-len(ENDING) :].lower() == ENDING:
        return bare[: -len(ENDING)].rstrip() or words
    return words
