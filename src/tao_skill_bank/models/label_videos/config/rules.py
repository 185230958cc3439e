"""Cross-field rules of this skill's specs."""

from collections.abc import Mapping, Sequence
from typing import Any

from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.errors import Problem

ALL_STEPS = ["captions", "description", "questions"]


def _questions_rest_on_captions(steps: Sequence[str], count: int) -> Problem | None:
    needs = "description" in steps or ("questions" in steps and count > 0)
    if "captions" in steps or not needs:
        return None
    what = "A description is" if "description" in steps else f"{count} questions per clip are"
    message = f"{what} made of the captions, and steps has no captions."
    fix = "Add captions to steps; or ask only the questions of `questions`: questions_per_clip=0, steps=[questions]."
    path, whole = "steps", [step for step in ALL_STEPS if step in ("captions", *steps)]
    return Problem("captions_missing", message, fix, path, list(steps), fix_set={path: whole})


def _something_is_asked(steps: Sequence[str], count: int, questions: Sequence[Any]) -> Problem | None:
    if "questions" in steps and (count or questions):
        return None
    path = "steps"
    if "questions" in steps:
        message = "There is nothing to ask: questions is empty, and questions_per_clip is 0."
        fix, path = "Give questions, or set questions_per_clip above 0.", "questions_per_clip"
        return Problem("nothing_to_ask", message, fix, path, count, fix_choices=({path: 3},))
    if not questions:
        return None  # captions alone are wanted
    message, fix = "questions are given, and steps does not ask any.", "Add questions to steps."
    return Problem("nothing_to_ask", message, fix, path, list(steps), fix_set={path: [*steps, "questions"]})


def _steps_differ(steps: Sequence[str]) -> Problem | None:
    return _differ("steps", steps)


def _forms_differ(forms: Sequence[str]) -> Problem | None:
    return _differ("question_forms", forms)


def _differ(path: str, values: Sequence[str]) -> Problem | None:
    unique = list(dict.fromkeys(values))
    if len(unique) == len(values):
        return None
    return Problem(
        "named_twice", f"{path} names a value twice.", "Name each once.", path, list(values), fix_set={path: unique}
    )


def _questions_are_sound(questions: Sequence[Mapping[str, Any]]) -> Problem | None:
    path = "questions"
    texts = [" ".join(each["question"].lower().split()) for each in questions]
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        return Problem("named_twice", f"The question '{twice}' is given twice.", "Give it once.", path, twice)
    for each in questions:
        choices = [choice.strip().lower() for choice in each.get("choices", ())]
        if len(choices) == 1 or len(set(choices)) < len(choices) or "" in choices:
            message = f"The question '{each['question']}' needs two or more different choices, or none."
            return Problem("invalid_choices", message, "Correct its choices.", path, each["choices"])
        if "<video>" in each["question"] or "<image>" in each["question"]:
            message = f"The question '{each['question']}' has a media marker, which its record gets by itself."
            return Problem("invalid_question", message, "Leave the marker out.", path, each["question"])
    return None


def _agreement_is_measured(least: float, enable: bool) -> Problem | None:
    if not least or enable:
        return None
    path = "second_pass.min_agreement"
    message = f"{path} is {least:g}, and there is no second pass that would measure agreement."
    choices = ({"second_pass.enable": True}, {path: 0.0})
    return Problem("agreement_not_measured", message, f"Set second_pass.enable=true, or {path}=0.", path, least,
                   fix_choices=choices)  # fmt: skip


RULES: dict[str, tuple[Rule, ...]] = {
    "label": (
        Rule(("steps", "questions_per_clip"), _questions_rest_on_captions),
        Rule(("steps", "questions_per_clip", "questions"), _something_is_asked),
        Rule(("steps",), _steps_differ),
        Rule(("question_forms",), _forms_differ),
        Rule(("questions",), _questions_are_sound),
        Rule(("second_pass.min_agreement", "second_pass.enable"), _agreement_is_measured),
    )
}
