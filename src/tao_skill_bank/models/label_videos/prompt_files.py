"""The prompts of a domain: packaged text files, or files of the same names in a folder of the user's own.

A prompt is prose with placeholders such as $num_frames. The form of the reply is asked for by `replies`, so that an
edited prompt cannot break it.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from tao_skill_bank.bank import catalog
from tao_skill_bank.core import plain_text
from tao_skill_bank.data import text_files
from tao_skill_bank.data.text_files import EncodingError
from tao_skill_bank.errors import BlockedError, Problem

GENERAL = "general"
SEEN = ("num_frames", "duration_seconds", "frame_seconds")
PLACEHOLDERS: Mapping[str, tuple[str, ...]] = {
    "captions": SEEN,
    "description": ("duration_seconds", "captions"),
    "questions": ("duration_seconds", "description", "num_questions", "forms"),
    "answers": (*SEEN, "questions"),
}
ESSENTIAL = {"description": "captions", "questions": "description", "answers": "questions"}
SUFFIX = ".txt"


@dataclass(frozen=True)
class Prompts:
    """The text of each prompt."""

    texts: Mapping[str, str]

    def filled(self, name: str, **values: object) -> str:
        """Return a prompt with its placeholders replaced."""
        return Template(self.texts[name]).substitute({key: str(value) for key, value in values.items()}).strip()

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(dict(self.texts), sort_keys=True).encode()).hexdigest()


def load(domain: str, folder: Path | None = None) -> Prompts:
    """Return the prompts of a packaged domain, replaced by those of a folder.

    Raises:
        BlockedError: the folder has no prompt, or one that cannot be used; all problems at once.

    """
    packaged = {name: _packaged(domain, name) for name in PLACEHOLDERS}
    if folder is None:
        return Prompts(packaged)
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise BlockedError([_problem("prompts_missing", folder, what)])
    own: dict[str, str] = {}
    problems: list[Problem] = []
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            own[file.stem] = _read(file)
        except BlockedError as error:
            problems += error.problems
    if not own and not problems:
        problems = [_problem("prompts_missing", folder, f"has none of {', '.join(_names())}")]
    if problems:
        raise BlockedError(problems)
    return Prompts({**packaged, **own})


def _packaged(domain: str, name: str) -> str:
    root = files("tao_skill_bank.models.label_videos.prompts")
    file = root.joinpath(domain, f"{name}{SUFFIX}")
    return (file if file.is_file() else root.joinpath(GENERAL, f"{name}{SUFFIX}")).read_text(encoding="utf-8")


def _read(file: Path) -> str:
    if file.stem not in PLACEHOLDERS:
        nearest = catalog.did_you_mean(file.name, _names())
        raise BlockedError([_problem("prompt_unknown", file, f"is not the name of a prompt.{nearest}".rstrip("."))])
    try:
        text = text_files.read(file).text
    except (OSError, EncodingError) as error:
        raise BlockedError([_problem("prompt_unreadable", file, f"cannot be read: {error}")]) from None
    template, known = Template(text), PLACEHOLDERS[file.stem]
    if not text.strip() or plain_text.fault_of_prose(text):
        raise BlockedError([_problem("prompt_unreadable", file, "is empty or holds control characters")])
    if not template.is_valid():
        raise BlockedError([_problem("prompt_invalid", file, "has a $ that begins no placeholder; write $$")])
    names = set(template.get_identifiers())
    if unknown := sorted(names - set(known)):
        what = f"has the placeholder ${unknown[0]}; known are {', '.join(f'${name}' for name in known)}"
        raise BlockedError([_problem("prompt_invalid", file, what)])
    if (essential := ESSENTIAL.get(file.stem)) and essential not in names:
        raise BlockedError([_problem("prompt_invalid", file, f"lacks the placeholder ${essential}")])
    return text


def _names() -> list[str]:
    return [f"{name}{SUFFIX}" for name in PLACEHOLDERS]


def _problem(code: str, path: Path, what: str) -> Problem:
    return Problem(code, f"{path} {what}.", f"Prompt files are {', '.join(_names())}.", str(path))
