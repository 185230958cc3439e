"""Why a media file cannot be used, as an error with its fix."""

from pathlib import Path

from tao_skill_bank.errors import BlockedError

REPLACE = "Replace or re-encode the file, or drop its records."


def refused(path: Path, reason: str, *, code: str = "media_unreadable", fix: str = REPLACE) -> BlockedError:
    """Return the error of a media file. `reason` is the end of a sentence and contains no colon."""
    return BlockedError.of(code, f"Media file {path} cannot be used: {reason}.", fix, path=str(path))


def reason_in(error: BlockedError) -> str:
    """Return the reason in an error that `refused` built."""
    return error.problems[0].message.rpartition(": ")[2].rstrip(".")


def reason_of(error: BaseException) -> str:
    """Return the reason that a decoder's exception gives, without the file's path and the error's number."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split()).replace(": ", " - ").rstrip(".")
