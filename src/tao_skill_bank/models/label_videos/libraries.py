"""The optional modules that the action of this skill imports. No torch here."""

from collections.abc import Sequence

from tao_skill_bank.bank.libraries import Library, Spec, always

EXTRA = "label"


def needed(action: str, spec: Spec) -> Sequence[Library]:  # noqa: ARG001 - the hook's
    """Return the optional modules that an action of a valid spec imports."""
    return always(action, EXTRA, "av", "numpy", "openai", "PIL")
