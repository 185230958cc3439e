"""The choices of closed questions, spelled as the truths spell them. Pure Python."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import answers
from tao_skill_bank.models.cosmos_reason.answers import DIRECTIONS, YES_NO, Response
from tao_skill_bank.models.cosmos_reason.verdicts import Rule

OPTION = re.compile(r"(?:^|[\s(\[])([A-Z])[.):\]](?=\s|$)")  # "A. a truck", "(B) a car", "C: none"
MIN_OPTIONS = 2
Choices = tuple[str, ...]


def of(questions: Sequence[str], truths: Sequence[str], rule: Rule) -> list[Choices]:
    """Return the choices of every question.

    Yes, no and directions are spelled as in most of the truths that say them. The letters of a question are those that
    it lists ("A. a truck"), if the truth is among them, else A to the last letter of any truth.

    Raises:
        BlockedError: the answers are free text.

    """
    if not rule.is_closed:
        message = "evaluation.scoring=choices scores yes/no, letters and directions, but the truths are free text."
        fix = "Set evaluation.scoring=generate; for truths that are letters, evaluation.answer_type=letter."
        where = {"path": "evaluation.scoring", "got": "choices", "fix_set": {"evaluation.scoring": "generate"}}
        raise BlockedError.of("no_choices", message, fix, **where)
    read = [answers.final(Response(truth), rule.answer_type) or truth for truth in truths]
    if rule.kind != "letter":
        labels = YES_NO if rule.kind == "yes_no" else DIRECTIONS
        return [_spelled(labels, read)] * len(questions)
    letters = [rule.truth(truth) for truth in truths]
    is_lower, prefix = _style(read)
    known = [chr(code) for code in range(ord("A"), ord(max(letters)) + 1)]
    found = []
    for question, truth in zip(questions, letters, strict=True):
        listed = list(dict.fromkeys(OPTION.findall(question)))
        own = listed if len(listed) >= MIN_OPTIONS and truth in listed else known
        found.append(tuple(prefix + (letter.lower() if is_lower else letter) for letter in own))
    return found


def _spelled(labels: Choices, truths: Sequence[str]) -> Choices:
    """Return the labels in the spelling of the truths; one that no truth says follows the others' case."""
    spelled = {label: Counter[str]() for label in labels}
    for truth in truths:
        for word in re.findall(r"[^\W\d_]+", truth):
            label = unicodedata.normalize("NFKC", word).casefold()
            if label in spelled:
                spelled[label][word] += 1
                break
    seen = sum(spelled.values(), Counter[str]())
    most = next((word for word, _ in seen.most_common(1)), "")
    in_case = str.upper if most.isupper() else str.title if most.istitle() else str.lower
    return tuple(counts.most_common(1)[0][0] if (counts := spelled[label]) else in_case(label) for label in labels)


def _style(truths: Sequence[str]) -> tuple[bool, str]:
    """Return whether most letters are written in lower case, and what most truths write before the letter: "(A)"."""
    found = [match for truth in truths if (match := re.match(r"([(\[]?)([A-Za-z])", truth.strip()))]
    lower = sum(match.group(2).islower() for match in found)
    prefix = Counter(match.group(1) for match in found).most_common(1)
    return 2 * lower > len(found), prefix[0][0] if prefix else ""
