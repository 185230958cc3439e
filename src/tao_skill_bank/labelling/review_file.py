"""review.jsonl: a line that says of what, a line per record, and appended decisions, of which the last one counts.

People may fill in `decision` and `correction` of the records' lines with any tool, or decide on the page, which only
appends. Nothing is ever rewritten: a kill loses at most the decision that was not yet answered.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from tao_skill_bank.core import durable_lines, plain_text
from tao_skill_bank.data.records.reader import examine
from tao_skill_bank.errors import BlockedError, ConflictError, Problem, RequestError
from tao_skill_bank.labelling.records_file import RULES, Item, RecordsFile
from tao_skill_bank.runs.run_directory import JsonLines
from tao_skill_bank.runs.status_log import now

Choice = Literal["accept", "correct", "reject"]
CHOICES: tuple[Choice, ...] = ("accept", "correct", "reject")
MAX_PROBLEMS = 100


@dataclass(frozen=True)
class Decision:
    """What somebody decided of a record; `correction` is the right answer of one that is corrected."""

    choice: Choice
    correction: str = ""


@dataclass
class Review:
    """What a review file holds.

    Attributes:
        head: of what it is: `review_of`, `media`, `sha256`; empty for a file without such a line.
        num_unread: lines that hold no object.

    """

    path: Path
    head: Mapping[str, Any] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)
    decisions: dict[str, Decision] = field(default_factory=dict)
    num_unread: int = 0

    @property
    def undecided(self) -> list[str]:
        return [key for key in self.items if key not in self.decisions]

    @property
    def counts(self) -> dict[str, int]:
        """How many records have each decision, and how many none."""
        counts: dict[str, int] = dict.fromkeys(CHOICES, 0)
        for decision in self.decisions.values():
            counts[decision.choice] += 1
        return {**counts, "undecided": len(self.undecided)}

    def decide(self, key: str, choice: str, correction: str = "") -> None:
        """Append a decision; an empty choice takes an earlier one back.

        Raises:
            RequestError: there is no such record or choice, or the correction cannot be an answer.
            OSError: nothing was decided: the file cannot be written.

        """
        decision = _decision(self.items.get(key), choice, correction, key)
        durable_lines.append(self.path, [{"key": key, "decision": choice, "correction": correction, "at": now()}])
        _take(self.decisions, key, decision)


def export(records: RecordsFile, path: Path) -> Review:
    """Write the review file of some records, or continue one of the same records.

    Raises:
        ConflictError: the file is of other records, or is something else.
        BlockedError: it cannot be written.

    """
    review = read(path) if path.exists() else Review(path)
    if path.exists() and review.head.get("sha256") != records.sha256:
        of = review.head.get("review_of")
        what = f"a review of other records ({of})" if of else "something else"
        message = f"{path} exists and is {what}."
        raise ConflictError.of("another_review", message, "Give another --out.", path=str(path))
    new = [item for item in records.items if item.key not in review.items]
    if not new:
        return review
    head = {"review_of": str(records.path), "media": str(records.media), "sha256": records.sha256}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        durable_lines.append(path, [*([] if review.head else [head]), *map(_line, new)])
    except OSError as error:
        message = f"{path} cannot be written: {error.strerror or error}."
        raise BlockedError.of("target_not_written", message, "Give another --out.", path=str(path)) from None
    return read(path)


def read(path: Path) -> Review:
    """Return what a review file holds.

    Raises:
        BlockedError: it cannot be read, holds no records, or decisions that are none; all of them with their lines.

    """
    lines, review = JsonLines(path), Review(path)
    problems: list[Problem] = []
    for document in lines:
        try:
            _read_line(review, document)
        except RequestError as error:
            problems += [_at(problem, path, lines.num_lines) for problem in error.problems]
    review.num_unread = lines.num_wrong
    if lines.error or not (review.items or problems):
        message = f"{path} {f'cannot be read: {lines.error}' if lines.error else 'holds no records to review'}."
        fix = "Write one with: tao-skills label export JOB --out FILE"
        raise BlockedError.of("review_unreadable", message, fix, path=str(path))
    if problems:
        raise BlockedError(problems[:MAX_PROBLEMS])
    return review


def records_of(review: Review, choices: Iterable[str] = ("accept", "correct")) -> Iterator[dict[str, Any]]:
    """Yield the records that were accepted, and those that were corrected with the right answer."""
    for key, item in review.items.items():
        decision = review.decisions.get(key)
        if decision is not None and decision.choice in choices:
            yield item.answered(decision.correction) if decision.choice == "correct" else item.record


def _read_line(review: Review, document: Mapping[str, Any]) -> None:
    if "review_of" in document:
        review.head = review.head or document
        return
    key, choice = str(document.get("key") or ""), document.get("decision") or ""
    record = document.get("record")
    if record is not None:
        review.items.setdefault(key, Item(key, _sound(record)))
    if choice or record is None:
        correction = document.get("correction") or ""
        _take(review.decisions, key, _decision(review.items.get(key), choice, correction, key))


def _sound(record: Any) -> dict[str, Any]:
    """Return a record as it was exported. Raises RequestError where it is no longer one."""
    found, issues = examine(record, RULES)
    turns = record.get("conversations") if isinstance(record, dict) else None
    if issues or not isinstance(turns, list) or not found.turns or found.turns[-1].role != "assistant":
        message = f"The record is not one any more{f': {issues[0]}' if issues else ''}."
        raise RequestError.of("review_invalid", message, "Change decision and correction only.")
    return cast(dict[str, Any], record)


def _decision(item: Item | None, choice: Any, correction: Any, key: str) -> Decision | None:
    if item is None:
        raise RequestError.of("review_invalid", f"There is no record '{key}'.", "Keep the line that holds it.")
    if choice == "":
        return None
    if choice not in CHOICES:
        message = f"'{choice}' is not a decision."
        raise RequestError.of("review_invalid", message, f"Write one of {', '.join(CHOICES)}.", path="decision")
    if choice != "correct":
        return Decision(choice)
    text = correction.strip() if isinstance(correction, str) else ""
    fault = plain_text.fault_of_prose(text) if text else "is empty"
    issues = () if fault else examine(item.answered(text), RULES)[1]
    if fault or issues:
        message = f"The correction cannot be an answer: it {fault}." if fault else f"The correction: {issues[0]}."
        raise RequestError.of("review_invalid", message, "Write the right answer as plain text.", path="correction")
    return Decision("correct", text)


def _take(decisions: dict[str, Decision], key: str, decision: Decision | None) -> None:
    if decision is None:
        decisions.pop(key, None)
    else:
        decisions[key] = decision


def _line(item: Item) -> dict[str, Any]:
    shown = {"key": item.key, "question": item.question, "answer": item.answer, "decision": "", "correction": ""}
    return {**shown, "record": item.record}


def _at(problem: Problem, path: Path, line: int) -> Problem:
    return Problem(problem.code, f"{path}, line {line}: {problem.message}", problem.fix, str(path))
