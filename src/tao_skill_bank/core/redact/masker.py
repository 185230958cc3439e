"""The mask for all output: what looks like a secret, and the values of this process's own secrets."""

import copy
import os
import re
from functools import lru_cache
from pathlib import Path

from tao_skill_bank.core.redact import lines
from tao_skill_bank.core.redact.lines import PRIVATE_KEY, LineMasker, has_hint
from tao_skill_bank.core.redact.names import is_secret_name
from tao_skill_bank.core.redact.values import MASK, NUMBER, ORDINARY

LONGEST_KEPT = 200  # characters of a text whose masked form is kept
SHORTEST_OWN = 8  # characters of a variable's value; shorter ones would mask ordinary words


def redacted(text: str) -> str:
    """Return the text with everything that looks like a credential masked, line by line."""
    return _redacted_again(text) if len(text) <= LONGEST_KEPT else _redacted(text)


def _redacted(text: str) -> str:
    if not has_hint(text):
        return text
    text = PRIVATE_KEY.sub(MASK, text)
    mask = LineMasker()
    return "\n".join(map(mask, text.split("\n")))


_redacted_again = lru_cache(maxsize=8192)(_redacted)  # records and logs repeat their short texts


def masked_text(text: str, own: re.Pattern[str] | None) -> str:
    """Return a text as `redacted` does, without what `own` finds: the values of this process's secrets."""
    return redacted(text if own is None else own.sub(MASK, text))


class Masker:
    """Masks line by line: what `redacted` masks, and the values of this process's secrets (`own_secrets`)."""

    def __init__(self) -> None:
        self._own = own_pattern()
        self._lines = LineMasker()

    @property
    def awaits_more(self) -> bool:
        """Whether the next line has to be seen even where nothing hints at a secret."""
        return self._lines.awaits_more

    @property
    def patterns(self) -> tuple[re.Pattern[str], ...]:
        """What a line is searched for: one without any of it stays as it is and changes nothing."""
        return (lines.HINT,) if self._own is None else (lines.HINT, self._own)

    @property
    def state(self) -> dict[str, object]:
        """What earlier lines say of the next one, to be compared."""
        return vars(self._lines)

    def copy(self) -> "Masker":
        """Return a masker that has seen the same lines."""
        twin = copy.copy(self)
        twin._lines = copy.copy(self._lines)
        return twin

    def __call__(self, line: str) -> str:
        return self._lines(line if self._own is None else self._own.sub(MASK, line))


def own_secrets() -> dict[str, str]:
    """Return the value of each variable with a secret's name, and of the URL that events are posted to.

    Left out: what is too short, a number, an ordinary word, and the path of an existing file.
    """
    named = {name: value for name, value in os.environ.items() if name == "TAO_POST_URL" or is_secret_name(name)}
    return {name: value for name, value in named.items() if _is_secret(value)}


def own_pattern() -> re.Pattern[str] | None:
    """Return what finds the values of this process's secrets, None where there are none."""
    values = sorted(set(own_secrets().values()), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, values))) if values else None


def _is_secret(value: str) -> bool:
    if len(value) < SHORTEST_OWN or NUMBER.fullmatch(value) or ORDINARY.fullmatch(value):
        return False
    return not (value.startswith(("/", "~", ".")) and _exists(value))


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False
