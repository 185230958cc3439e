"""Streams the answers of a results.json in batches, each entry checked."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tao_skill_bank.core import regular_files
from tao_skill_bank.data import json_stream
from tao_skill_bank.errors import BlockedError

RESULTS = "results.json"
ENVELOPE_KEYS = ("entries",)
ENTRIES_PER_BATCH = 256  # few: what is freed at once and allocated again costs page faults
TEXTS = ("question", "response")
OUTCOMES = ("right", "wrong", "unparseable", "cut")
EVALUATE_AGAIN = "Give the run directory of an evaluation that is COMPLETE."


@dataclass(frozen=True)
class Batch:
    """Some entries in the order of the file, and their fields by column.

    Attributes:
        start: index of the first one in the file.
        verdicts: how the evaluation judged each; None where the results do not say.

    """

    start: int
    entries: Sequence[dict[str, Any]]
    videos: Sequence[str]
    questions: Sequence[str]
    responses: Sequence[str]
    truths: Sequence[str]
    verdicts: Sequence[str | None]


def batches(path: Path) -> Iterator[Batch]:
    """Yield the entries of a results.json.

    Raises:
        BlockedError: it is missing, is not results of questions, or an entry lacks a field or its truth.

    """
    stream, start = _stream(path), 0
    while entries := list(islice(stream, ENTRIES_PER_BATCH)):
        yield _batch(entries, start, path)
        start += len(entries)
    if not start:
        raise _malformed(path, "it has no answers")


def _stream(path: Path) -> Iterator[Any]:
    try:
        with regular_files.opened(path) as binary, io.TextIOWrapper(binary, "utf-8-sig", newline="") as file:
            yield from json_stream.stream_items(file, ENVELOPE_KEYS)
    except json_stream.NoListError:
        raise _malformed(path, "it is not a list") from None
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        raise BlockedError.of("results_unreadable", message, EVALUATE_AGAIN, path=str(path)) from None


def _batch(entries: list[Any], start: int, path: Path) -> Batch:
    try:
        ids = [entry["video_id"] for entry in entries]
        questions, responses = ([entry[name] for entry in entries] for name in TEXTS)
        truths = [entry["gt"] for entry in entries]
        verdicts = [entry.get("verdict") for entry in entries]
    except (AttributeError, KeyError, TypeError):
        raise _first_problem(entries, start, path) from None
    types = {name: set(map(type, column)) for name, column in (("video_id", ids), ("gt", truths))}
    if types["video_id"] != {str}:
        ids = [str(each) if type(each) is int else each for each in ids]
    are_texts = all(set(map(type, column)) == {str} for column in (ids, questions, responses, truths))
    if not are_texts or not all(map(str.strip, truths)):
        raise _first_problem(entries, start, path)
    if not set(map(type, verdicts)) <= {str, type(None)} or not {*verdicts} <= {*OUTCOMES, None}:
        verdicts = [each if each in OUTCOMES else None for each in verdicts]
    return Batch(start, entries, ids, questions, responses, truths, verdicts)


def _first_problem(entries: Sequence[Any], start: int, path: Path) -> BlockedError:
    checks: dict[str, Callable[[Any], bool]] = {
        "video_id": lambda value: type(value) in (str, int),
        **dict.fromkeys(TEXTS, lambda value: isinstance(value, str)),
    }
    for index, entry in enumerate(entries, start=start):
        fields = entry if isinstance(entry, dict) else {}
        missing = [name for name, is_fine in checks.items() if not is_fine(fields.get(name))]
        if missing:
            return _malformed(path, f"entry {index} lacks {', '.join(missing)}")
        truth = fields.get("gt")
        if truth is None or (isinstance(truth, str) and not truth.strip()):
            message = f"Entry {index} of {path} has no truth (gt), so nothing shows whether its answer is wrong."
            fix = "Evaluate on annotated data: answers of an inference have no truth."
            return BlockedError.of("truth_missing", message, fix, path=str(path))
        if not isinstance(truth, str):
            return _malformed(path, f"the truth (gt) of entry {index} is not text")
    return _malformed(path, "its entries cannot be read")


def _malformed(path: Path, why: str) -> BlockedError:
    message = f"{path} holds no evaluation results: {why}."
    return BlockedError.of("results_malformed", message, "Evaluate again.", path=str(path))
