"""Prose, messages and names use the terms of the field, not the quaint ones that once stood for them."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "src/tao_skill_bank"

# Folders and files that are read; recorded history (CHANGELOG.md, references/decisions/) and golden files are not.
READ = (
    "README.md",
    "AGENTS.md",
    "CONTRIBUTING.md",
    "Makefile",
    "docker",
    "references",
    "skills",
    "schemas",
    "workflow",
)
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".json", ".jinja", ".txt", ".sh", ".toml", ""}
NOT_READ = ("references/decisions/", "skills/tao-run-automl/references/options.md", "references/images/")


# phrase -> what to write instead
PHRASES = {
    r"(go|goes|going|gone|went) on (with|from|where|exactly|until)": "resume, continue",
    r"(go|goes) on\b(?! (top|the|a|an|disk))": "resume, continue, keep running",
    r"(un)?cure[sd]?": "fix",
    r"(is|are) no (adapter|device|directory|file|folder|list|mapping|multiple)": "is not a ...",
    r"(is|are) no (name|number|object|plan|string|URL|value)": "is not a ...",
    r"anew": "again",
    r"beside": "next to, in addition to, compared with",
    r"at hand": "available locally",
    r"fed( with)?": "data fingerprint, input",
    r"gangs?": "process group, pod group",
    r"strangers?": "unrelated process, third-party",
    r"studios?": "generator",
    r"work(_| )lists?": "generation plan",
    r"kept(_| )features?": "feature cache",
    r"to (its|their) liking": "state the fact",
    r"(is|are|was|were|be|been) told( by)?": "is reported, receives",
    r"tellers?": "progress callback",
    r"tells (apart|what|whether|how|why|which|where)": "reports, determines",
    r"make_way": "prepare_run_directory",
    r"(deal|deals|dealing|dealt)( out)?": "assign to ranks, shard",
    r"ended by its machines?": "infrastructure failure",
    r"its machines (end|ended)": "infrastructure failure",
    r"hungriest": "most demanding",
    r"(is|are) left over": "dropped per epoch",
    r"the time that is left": "the remaining time",
    r"somebody was faster": "done by another process meanwhile",
}
# Whole names on the wire, which readers of other versions know: JSON keys, file names, codes.
ON_THE_WIRE = {
    r'"cure"|\.cure\b|`cure`|\bcure:|\bcure\b(?=[,)=])': "key of a diagnosis in status.jsonl, failures.yaml and --json",
    r'"kept_features"': "key of the answer of a model's inspection, read by preflight",
}


def _pattern(phrase: str) -> re.Pattern[str]:
    """Return the pattern of whole words, between which a line of prose or of a comment may break."""
    words = phrase.replace(" ", r"(?: |\s*\n[ #]*)")
    return re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)


PATTERNS = {_pattern(phrase): better for phrase, better in PHRASES.items()}
WIRE = re.compile("|".join(ON_THE_WIRE))


def _files() -> Iterator[Path]:
    for name in (*READ, PACKAGE):
        start = ROOT / name
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            relative = path.relative_to(ROOT).as_posix()
            is_read = path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in relative
            if is_read and not relative.startswith(NOT_READ):
                yield path


def _old_words(text: str) -> Iterator[str]:
    """Yield where an old phrase is, and what to write instead."""
    prose = WIRE.sub(lambda found: "_" * len(found.group()), text)
    for pattern, better in PATTERNS.items():
        for found in pattern.finditer(prose):
            yield f"line {prose.count(chr(10), 0, found.start()) + 1}: '{found.group()}' (write: {better})"


@pytest.mark.parametrize("path", list(_files()), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_uses_the_words_of_the_field(path: Path) -> None:
    found = list(_old_words(path.read_text()))
    assert not found, "\n".join(found)


def test_what_is_left_out_exists() -> None:
    assert [name for name in NOT_READ if not (ROOT / name).exists()] == []
