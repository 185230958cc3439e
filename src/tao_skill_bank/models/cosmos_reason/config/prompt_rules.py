"""Rule over prompts of specs: as in records, no text of theirs can open a turn or stand for a medium."""

from tao_skill_bank.bank.rules import Rule
from tao_skill_bank.data.records.placement import MARKERS
from tao_skill_bank.errors import Problem
from tao_skill_bank.models.cosmos_reason.reserved_tokens import RESERVED_TOKENS


def _without_tokens(text: str) -> str:
    """Return a text without tokens, also those that their removal makes."""
    plain = text
    for token in (*RESERVED_TOKENS, *MARKERS):
        plain = plain.replace(token, "")
    return plain.strip() if plain == text else _without_tokens(plain)


def is_plain_text(path: str) -> Rule:
    """Return the rule that the text at a path has no token of the chat template and no marker of a medium."""

    def check(text: str) -> Problem | None:
        found = [token for token in (*RESERVED_TOKENS, *MARKERS) if token in (text or "")]
        if not found:
            return None
        message = f"{path} contains {', '.join(found)}, which only the chat template may write."
        return Problem(
            code="reserved_token",
            message=message,
            fix=f"Remove it from {path}; media are placed without it.",
            path=path,
            got=text,
            fix_set={path: _without_tokens(text)},
        )

    return Rule((path,), check)
