"""The form in which each reply is asked for, and how it is read: with tolerance, but nothing unusable is kept."""

from collections.abc import Sequence
from typing import Any

from tao_skill_bank.core import numbers, reply_objects
from tao_skill_bank.models.label_videos import answers
from tao_skill_bank.models.label_videos.answers import Answered, Asked, Captions, Event

ONLY = "Reply with one JSON object and nothing else:"
CAPTIONS = f'{ONLY} {{"caption": "...", "events": [{{"start": 0.0, "end": 1.5, "text": "..."}}]}}'
DESCRIPTION = f'{ONLY} {{"description": "..."}}'
FORMS = {"yes_no": "yes_no (answered yes or no)", "choice": "choice (2 to 5 choices)", "open": "open (a few words)"}
REASON = ', "reasoning": "one to three sentences that lead to the answer, without stating it first"'
AGAIN = "Your last reply could not be used: {why}. Reply with the JSON object only."


class UnusableReplyError(ValueError):
    """A reply that cannot be used, and why."""


def questions_form(*, reasoning: bool) -> str:
    reason = REASON if reasoning else ""
    item = f'{{"form": "choice", "question": "...", "choices": ["...", "..."]{reason}, "answer": "..."}}'
    return f'{ONLY} {{"questions": [{item}]}}. Leave choices out where the form is not choice.'


def answers_form(*, reasoning: bool) -> str:
    reason = REASON if reasoning else ""
    return f'{ONLY} {{"answers": [{{"number": 1{reason}, "answer": "..."}}]}}, with every number once.'


def numbered(asked: Sequence[Asked], *, reverses: bool = False) -> str:
    """Return questions as a numbered list with their choices, in reversed order for an independent second look."""
    lines = []
    for number, each in enumerate(asked, start=1):
        choices = each.choices or (answers.YES_NO if each.form == "yes_no" else ())
        shown = f" Choices: {' | '.join(reversed(choices) if reverses else choices)}" if choices else ""
        lines.append(f"{number}. {each.text}{shown}")
    return "\n".join(lines)


def captions(text: str) -> Captions:
    """Return the captions of a reply. Raises UnusableReplyError without a caption of the whole clip."""
    document = _object(text, "caption")
    caption = answers.text_of(document["caption"])
    if not caption:
        raise UnusableReplyError("its caption is empty or not plain text")
    listed = document.get("events")
    events = [_event(each) for each in listed] if isinstance(listed, list) else []
    return Captions(caption, tuple(event for event in events if event is not None))


def description(text: str) -> str:
    """Return the description of a reply. Raises UnusableReplyError."""
    found = answers.text_of(_object(text, "description")["description"])
    if not found:
        raise UnusableReplyError("its description is empty or not plain text")
    return found


def questions(text: str, forms: Sequence[str], *, reasoning: bool) -> list[Answered]:
    """Return the questions of a reply that can be used, each once. Raises UnusableReplyError where there is none."""
    listed = _object(text, "questions")["questions"]
    found: dict[str, Answered] = {}
    for each in listed if isinstance(listed, list) else []:
        answered = _question(each, forms, reasoning=reasoning)
        if answered is not None:
            found.setdefault(answered.asked.text.lower(), answered)
    if not found:
        raise UnusableReplyError("it has no question of the wanted forms with an answer that fits")
    return list(found.values())


def answered(text: str, asked: Sequence[Asked], *, reasoning: bool) -> list[Answered | None]:
    """Return the answer to each question, None where it has none. Raises UnusableReplyError where none has one."""
    listed = _object(text, "answers")["answers"]
    found: list[Answered | None] = [None] * len(asked)
    for each in listed if isinstance(listed, list) else []:
        number = numbers.count(each.get("number")) if isinstance(each, dict) else None
        if not number or number > len(asked):
            continue
        question = asked[number - 1]
        reason = answers.text_of(each.get("reasoning")) if reasoning else ""
        if (answer := answers.usable(question, each.get("answer"))) and (reason or not reasoning):
            found[number - 1] = Answered(question, answer, reason)
    if not any(found):
        raise UnusableReplyError("it answers no question in the wanted form")
    return found


def _question(each: Any, forms: Sequence[str], *, reasoning: bool) -> Answered | None:
    if not isinstance(each, dict) or each.get("form") not in forms:
        return None
    form, listed = each["form"], each.get("choices")
    choices = tuple(map(answers.text_of, listed)) if form == "choice" and isinstance(listed, list) else ()
    is_choosable = len({choice.lower() for choice in choices}) == len(choices) > 1 and all(choices)
    question = " ".join(answers.text_of(each.get("question")).split())
    if not question or (form == "choice" and not is_choosable):
        return None
    asked = Asked(form, question, choices)
    answer = answers.usable(asked, each.get("answer"))
    reason = answers.text_of(each.get("reasoning")) if reasoning else ""
    return Answered(asked, answer, reason) if answer and (reason or not reasoning) else None


def _event(each: Any) -> Event | None:
    text = answers.text_of(each.get("text")) if isinstance(each, dict) else ""
    if not text:
        return None
    start, end = numbers.finite(each.get("start")), numbers.finite(each.get("end"))
    return Event(text, start, end)


def _object(text: str, key: str) -> dict[str, Any]:
    try:
        return reply_objects.find(text, key)
    except ValueError as error:
        raise UnusableReplyError(str(error)) from None
