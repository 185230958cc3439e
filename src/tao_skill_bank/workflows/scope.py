"""The values that references of a step name, at one moment of a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.workflows import outputs, references
from tao_skill_bank.workflows.declaration import ENGINE, Condition, Limits
from tao_skill_bank.workflows.references import Reference


class NotYetError(Exception):
    """A reference names the output of a step that has not run: what holds it is planned later."""

    def __init__(self, step: str) -> None:
        super().__init__(step)
        self.step = step


@dataclass
class Scope:
    """Inputs, and the outputs of the steps that ran; in a loop those of the newest iteration.

    `plans` before anything ran: no optional reference is null yet.
    """

    folder: Path
    inputs: Mapping[str, Any]
    outputs: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    iteration: int = 0
    plans: bool = False

    def give(self, step: str, values: Mapping[str, Any]) -> None:
        """Take the outputs of a step."""
        self.outputs[step] = values
        self.skipped.discard(step)

    def skip(self, step: str) -> None:
        """Note that a step was skipped: what it gave in an earlier iteration does not count any more."""
        self.outputs.pop(step, None)
        self.skipped.add(step)

    def lookup(self, reference: Reference) -> Any:
        """Return the value of a reference.

        Raises:
            NotYetError: its step has not run yet, while planning.
            BlockedError: its step was skipped or not reached, and the reference is not optional.
            UnknownNameError: its step gave no such value.

        """
        if not reference.step:
            return self.inputs[reference.output]
        if reference.step == ENGINE:
            return str(self.folder) if reference.output == "folder" else self.iteration
        if reference.step in self.outputs:
            return outputs.value_of(self.outputs[reference.step], reference)
        if reference.optional and (reference.step in self.skipped or not self.plans):
            return None
        if reference.step in self.skipped or not self.plans:
            message = f"The step '{reference.step}' was skipped or not reached, so {reference} has no value."
            fix = f"Write ${{{reference}?}} where null will do, or skip this step as well."
            raise BlockedError.of("output_of_skipped", message, fix, path=str(reference))
        raise NotYetError(reference.step)

    def filled(self, value: Any) -> Any:
        """Return a nested value with its references replaced. Raises like `lookup`."""
        return references.filled(value, self.lookup)

    def condition(self, condition: Condition) -> Condition:
        """Return a condition whose constant is a value."""
        return Condition(condition.value, condition.op, self.filled(condition.constant))

    def limits(self, limits: Limits) -> Limits:
        """Return the limits as numbers."""
        given = {name: self.filled(getattr(limits, name)) for name in Limits.__dataclass_fields__}
        return Limits(**given)
