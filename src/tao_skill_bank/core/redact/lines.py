"""Secrets that span lines: private keys, YAML block scalars, a value below its name, lines that continue others."""

import re

from tao_skill_bank.core.redact import forms
from tao_skill_bank.core.redact.names import is_secret_name
from tao_skill_bank.core.redact.values import MASK, VALUE, masked_value

LONGEST_CONTEXT = 2000  # characters kept of lines that the next one continues
FILLER = "x0" * 8  # stands for the rest of a word that continues on the next line
PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL
)
KEY_BEGINS, KEY_ENDS = (re.compile(rf"-----{word} [A-Z ]*PRIVATE KEY(?: BLOCK)?-----") for word in ("BEGIN", "END"))
_NAME = r"[\"']?(?P<name>[\w.-]{1,128})[\"']?"
_INDENT = r"(?P<indent>[ \t]*(?:-[ \t]+)?)"
_END = r"[ \t]*[}\]]{0,2}[ \t]*,?[ \t]*\r?"
_BLOCK_MARK = r"(?:![\w!]*[ \t]*)?[|>][-+\d]{0,2}[ \t]*(?:#.*)?\r?"
_BLOCK = re.compile(rf"{_INDENT}{_NAME}[ \t]*:[ \t]*{_BLOCK_MARK}")
_OPEN_NAME = re.compile(rf"{_INDENT}{_NAME}[ \t]*:[ \t]*\r?")
_NAMING = re.compile(rf"{_INDENT}\{{?[ \t]*[\"']?name[\"']?[ \t]*:[ \t]*{_NAME}{_END}")
_VALUE_BELOW = re.compile(
    rf"{_INDENT}[\"']?value[\"']?[ \t]*:[ \t]*(?:(?P<block>{_BLOCK_MARK})|(?P<value>{VALUE}){_END})"
)
_FLAG_ALONE = re.compile(rf"(?:[ \t]*-[ \t]+[\"']?|.*[\"'])--?(?P<name>[A-Za-z][\w-]{{0,63}})[\"']?{_END}")
_ALONE = re.compile(rf"{_INDENT}(?P<value>{VALUE}){_END}")
_MAPPING = re.compile(r"[ \t]*(?:-[ \t]+)?[\"']?[\w.-]+[\"']?[ \t]*:(?:[ \t]|\r?$)")
_CONTINUED = re.compile(r"(?<!\\)(?:\\\\)*\\\r?$")
_ANY_NAME = r"(?:token|secret|passw(?:or)?d|passphrase|key|pass|pwd|pat|credential)s?[\"']?"
# In addition to the hints of `forms`: what makes the lines after it a part of a secret.
HINTS = (
    rf"{_ANY_NAME}\s*:\s*(?:[!|>].*)?\r?$",
    rf"name[\"']?\s*:\s*[\"']?[\w.-]*{_ANY_NAME}\s*,?\s*\r?$",
    rf"[\"' \t]--?[\w-]*{_ANY_NAME}\s*,?\s*\r?$",
    r"\\\r?$",
)
LITERALS = (  # every hint holds one of them, in lower case: most texts are done after a look for these
    *("token", "secret", "passw", "passphrase", "key", "credential", "://", "proxy", "hooks.slack", "/webhooks/"),
    *(
        "office.com",
        "authorization",
        "bearer",
        "cookie",
        "sig=",
        "signature",
        "x-amz-",
        "curl",
        "mysql",
        "wandb",
        "login",
        "auth",
    ),
    *("_pass", "_pwd", "_pat", "pass", "pwd", "pat", "sshpass", "${", "hf_", "nvapi-", "sk-", "ghp_", "gho_", "ghu_"),
    *(
        "ghs_",
        "ghr_",
        "akia",
        "asia",
        "glpat-",
        "xox",
        "aiza",
        "ya29.",
        "npm_",
        "pypi-",
        "k_live",
        "k_test",
        "r8_",
        "eyj",
    ),
)
HINT = re.compile("|".join(f"(?:{hint})" for hint in (*forms.HINTS, *HINTS)), re.IGNORECASE | re.MULTILINE)


class LineMasker:
    """Masks line by line, remembering what earlier lines say of the next one.

    A line in which `HINT` finds nothing stays as it is and changes nothing, unless `awaits_more`.
    """

    def __init__(self) -> None:
        self._is_in_key = False
        self._block: int | None = None  # indentation of the name whose block scalar is open
        self._open_name: tuple[int, int] | None = None  # its indentation and the least length of a value below it
        self._is_flag = False  # the last line was a flag of an argument list
        self._is_named = False  # the last line was `name: HF_TOKEN`
        self._context = ""  # the masked lines that the next one continues

    @property
    def awaits_more(self) -> bool:
        """Whether the next line has to be seen even without a hint."""
        is_below = self._open_name is not None or self._is_flag or self._is_named
        return self._is_in_key or self._block is not None or is_below or bool(self._context)

    def __call__(self, line: str) -> str:
        if not self.awaits_more and not has_hint(line):
            return line
        if self._is_in_key:
            return self._in_key(line)
        if self._block is not None:
            indent = len(line) - len(line.lstrip())
            if not line.strip() or indent > self._block:
                return line[:indent] + MASK if line.strip() else line
            self._block = None
        begins = [found.end() for found in KEY_BEGINS.finditer(line)]
        self._is_in_key = bool(begins) and KEY_ENDS.search(line, begins[-1]) is None
        return self._outside(line)

    def _in_key(self, line: str) -> str:
        end = KEY_ENDS.search(line)
        if end is None:
            return MASK
        self._is_in_key = False
        return MASK + self(line[end.end() :])

    def _outside(self, line: str) -> str:
        continued = _CONTINUED.search(line)
        body = line[: line.rindex("\\")] if continued else line
        masked = body if self._opens_block(body) else self._below(body)
        if masked is None:
            is_split = continued is not None and body[-1:].strip(" \t=") != ""
            masked = self._with_context(body + FILLER if is_split else body).removesuffix(FILLER)
        self._context = (self._context + masked)[-LONGEST_CONTEXT:] if continued else ""
        self._remember(body)
        return masked + line[len(body) :]

    def _opens_block(self, line: str) -> bool:
        found = _BLOCK.fullmatch(line)
        return found is not None and is_secret_name(found["name"])

    def _below(self, line: str) -> str | None:
        """Return the masked line where it is the value of a name in the line above, else None."""
        if self._is_named and (found := _VALUE_BELOW.fullmatch(line)):
            self._block = len(found["indent"]) if found["block"] else None
            return line if found["block"] else _masked(found, 1)
        if self._is_flag and (found := _ALONE.fullmatch(line)) and not found["value"].lstrip("\"'").startswith("-"):
            return _masked(found, 1)
        if self._open_name is None or _MAPPING.match(line) or not (found := _ALONE.fullmatch(line)):
            return None
        indent, least = self._open_name
        is_scalar = "-" not in found["indent"] and len(found["indent"]) > indent
        return _masked(found, least) if is_scalar else None

    def _with_context(self, line: str) -> str:
        """Mask a line as the end of those that it continues."""
        if not self._context:
            return forms.masked_line(line)
        rest = line.lstrip()
        lead = line[: len(line) - len(rest)]
        before = self._context.rstrip() + " " if lead and self._context[-1] != "=" else self._context
        if not lead and before.endswith(MASK) and (piece := re.match(r"[^\s\"']+", rest)):
            lead, rest = MASK, rest[piece.end() :]
        masked = forms.masked_line(before + rest)
        shared = next(
            (at for at, pair in enumerate(zip(before, masked, strict=False)) if pair[0] != pair[1]), len(before)
        )
        return lead + masked[shared:]

    def _remember(self, line: str) -> None:
        self._open_name, self._is_flag, self._is_named = None, False, False
        if self._block is not None:
            return
        if (found := _BLOCK.fullmatch(line)) and is_secret_name(found["name"]):
            self._block = len(found["indent"])
        elif (found := _OPEN_NAME.fullmatch(line)) and is_secret_name(found["name"]):
            least = 4 if "pass" in found["name"].lower() else forms.SHORTEST
            self._open_name = len(found["indent"]), least
        elif found := _FLAG_ALONE.fullmatch(line):
            self._is_flag = is_secret_name(found["name"])
        elif found := _NAMING.fullmatch(line):
            self._is_named = is_secret_name(found["name"])


def has_hint(text: str) -> bool:
    """Return whether a rule may find something in a text or in the lines after it."""
    lower = text.lower()
    return ("\\" in lower or any(map(lower.__contains__, LITERALS))) and HINT.search(text) is not None


def _masked(found: re.Match[str], least: int) -> str:
    start, end = found.span("value")
    return found.string[:start] + masked_value(found["value"], least) + found.string[end:]
