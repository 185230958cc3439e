"""What an evaluation's answers say about the evaluation itself: answers of one class, cut answers, wrong reading."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tao_skill_bank.contracts import Finding
from tao_skill_bank.models.cosmos_reason import answers
from tao_skill_bank.models.cosmos_reason.answers import Response
from tao_skill_bank.models.cosmos_reason.verdicts import Rule, Verdict

ANSWER_TYPE = "evaluation.answer_type"
ENOUGH_ANSWERS = 4  # fewer answers of one class may well be chance


def of(responses: Sequence[Response], truths: Sequence[str], verdicts: Sequence[Verdict], rule: Rule) -> list[Finding]:
    """Return the findings of an evaluation, all of them warnings."""
    found = [*_one_class(verdicts, rule), *_cut(responses, verdicts), *_reading(responses, truths, rule)]
    unparseable = sum(verdict.outcome == "unparseable" for verdict in verdicts)
    if unparseable:
        message = f"{unparseable} of {len(verdicts)} answers cannot be read; they count as wrong."
        fix = "Read them in results.json (verdict unparseable), and make the questions ask for a short answer."
        found.append(Finding("answers_unparseable", "warning", message, fix, ANSWER_TYPE))
    return found


def _one_class(verdicts: Sequence[Verdict], rule: Rule) -> Iterator[Finding]:
    predicted = Counter(verdict.prediction for verdict in verdicts if verdict.prediction is not None)
    expected = Counter(verdict.truth for verdict in verdicts)
    if not rule.is_closed or len(predicted) != 1 or len(expected) < 2 or predicted.total() < ENOUGH_ANSWERS:
        return
    label = next(iter(predicted))
    right = sum(verdict.is_right for verdict in verdicts)
    message = (
        f"All {predicted.total()} answers that can be read are '{label}', but the truths have {len(expected)} classes: "
        f"an accuracy of {right / len(verdicts):.3f} is that of a constant answer."
    )
    fix = "Judge this model by balanced_accuracy; check the prompt, the media and the vision settings."
    yield Finding("one_class_answered", "warning", message, fix, evidence={"label": str(label)})


def _cut(responses: Sequence[Response], verdicts: Sequence[Verdict]) -> Iterator[Finding]:
    hit = sum(response.is_cut for response in responses)
    if not hit:
        return
    cut = sum(verdict.outcome == "cut" for verdict in verdicts)
    message = (
        f"{hit} of {len(responses)} answers hit generation.max_tokens; {cut} of them were cut before a final answer "
        "and count as wrong."
    )
    yield Finding("answers_cut", "warning", message, "Raise generation.max_tokens.", "generation.max_tokens")


def _reading(responses: Sequence[Response], truths: Sequence[str], rule: Rule) -> Iterator[Finding]:
    reasoned = sum(answers.shows_reasoning(response.text) for response in responses)
    if rule.answer_type != "reasoning" and 2 * reasoned > len(responses):
        message = (
            f"{reasoned} of {len(responses)} answers have <think> or <answer> tags, which "
            f"{ANSWER_TYPE}={rule.answer_type} reads as part of the answer."
        )
        yield Finding("answer_type_reasoning", "warning", message, f"Set {ANSWER_TYPE}=reasoning.", ANSWER_TYPE)
    elif rule.kind == "free_text" and all(answers.is_bare_letter(truth) for truth in truths):
        message = f"All truths are letters, and {ANSWER_TYPE}={rule.answer_type} compares them as text."
        yield Finding("answer_type_letter", "warning", message, f"Set {ANSWER_TYPE}=letter.", ANSWER_TYPE)
