"""`$NAME` and `${STEP.OUTPUT}` in the values of a step: found, and replaced by values. Nothing is evaluated."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tao_skill_bank.errors import Problem, RequestError

PATTERN = re.compile(r"\$(?:(?P<escaped>\$)|(?P<name>[A-Za-z_]\w*)|\{(?P<braced>[^{}]*)\})?")
SYNTAX = "Write $NAME for an input, ${STEP.OUTPUT} for an output, $$ for a dollar sign."


@dataclass(frozen=True)
class Reference:
    """A value that a text names: an input (`step` is empty), or an output of a step by its dotted path.

    An optional one, `${STEP.OUTPUT?}`, is null where the step was skipped or has not run yet in its loop.
    """

    step: str
    output: str
    optional: bool = False

    @classmethod
    def of(cls, text: str) -> "Reference":
        """Read what is written between the braces, or as `value` of a condition."""
        name, optional = text.removesuffix("?").strip(), text.endswith("?")
        step, dot, output = name.partition(".")
        return cls(step, output, optional) if dot else cls("", name, optional)

    def __str__(self) -> str:
        return f"{self.step}.{self.output}" if self.step else self.output


@dataclass(frozen=True)
class Place:
    """A text with references, by its dotted path in the step."""

    path: str
    text: str


def texts(value: Any, path: str) -> Iterator[Place]:
    """Yield every text of a nested value that holds a dollar sign."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from texts(child, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, child in enumerate(value):
            yield from texts(child, f"{path}.{index}")
    elif isinstance(value, str) and "$" in value:
        yield Place(path, value)


def named_in(text: str) -> Iterator[Reference]:
    """Yield the references of a text. Raises RequestError for a dollar sign that starts none."""
    for found in PATTERN.finditer(text):
        if found["escaped"]:
            continue
        name = found["name"] if found["name"] is not None else (found["braced"] or "").strip()
        if not name.strip("?"):
            raise RequestError(
                [Problem("invalid_reference", f"'{text}' has a dollar sign that names nothing.", SYNTAX)]
            )
        yield Reference.of(name)


def filled(value: Any, lookup: Callable[[Reference], Any]) -> Any:
    """Return a nested value with its references replaced; a text that is one reference becomes its value, typed.

    Raises:
        RequestError: a text holds a value that is no text or number inside of a longer text.

    """
    if isinstance(value, Mapping):
        return {key: filled(child, lookup) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [filled(child, lookup) for child in value]
    if not (isinstance(value, str) and "$" in value):
        return value
    whole = PATTERN.fullmatch(value)
    if whole and not whole["escaped"]:
        return lookup(next(named_in(value)))
    return PATTERN.sub(lambda found: _text_of(found, value, lookup), value)


def _text_of(found: re.Match[str], text: str, lookup: Callable[[Reference], Any]) -> str:
    if found["escaped"]:
        return "$"
    reference = next(named_in(found[0]))
    value = lookup(reference)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        message = f"'{text}' puts {reference} into a text, and its value is {value!r}."
        raise RequestError.of("not_a_text", message, f"Let the whole value be ${{{reference}}}.", path=text)
    return str(value)
