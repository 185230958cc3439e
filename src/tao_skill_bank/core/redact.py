"""Finds and masks secrets. Their values are never returned, only their locations."""

import os
import re
from collections.abc import Iterator
from typing import Any

MASK = "[redacted]"
SHORTEST = 8  # minimum length of a credential recognized by context; shorter ones would mask ordinary words
SECRET_NAME = re.compile(r"(?i)(^|[_.-])(token|secret|password|passwd|api_?key|access_?key|private_?key|credential)s?$")
# Credentials recognized by their format, anywhere.
SECRET_VALUE = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}|\bnvapi-[\w-]{16,}|\bsk-(?=[\w-]*\d)[\w-]{16,}|\b(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{20,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bglpat-[\w-]{16,}|\bxox[abeprs]-[\w-]{10,}|\bAIza[\w-]{30,}|\bya29\.[\w-]{20,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{20,}|\bdckr_pat_[\w-]{20,}|\b[rs]k_(?:live|test)_\w{10,}|\br8_[A-Za-z0-9]{30,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----|\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
)
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
KEY_BEGINS, KEY_ENDS = (re.compile(rf"-----{word} [A-Z ]*PRIVATE KEY-----") for word in ("BEGIN", "END"))
# Credentials recognized by context: (kept text)(credential).
SECRET_PLACES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(://)([^\s/:@'\"]*:(?!\$)[^\s/@'\"]+)(?=@)",
        r"(https://(?:hooks\.slack\.com|discord(?:app)?\.com/api/webhooks|[\w.-]*webhook\.office\.com)/)([^\s\"']+)",
        r"(\bauthorization[\"']?\s?[:=]\s?[\"']?(?:(?:basic|bearer|token)\s+)?)(?![$<])([^\s\"'$<]{8,})",
        r"(\bbearer\s+)(?=[^\s\"']*\d)(?![$<])([\w.~+/-]{8,}=*)",
        r"(\b(?:set-)?cookie:\s*)(\S.*)",
        r"([?&](?:[\w-]*token|sig|signature|x-amz-signature|x-amz-credential|key|api_?key|password)=)([^&\s\"'$<]{8,})",
        r"(\bcurl\b.*\s(?:-u|--user)\s+)([^\s:]+:\S+)",
        r"(\blogin\s+\S+\s+password\s+)(\S+)",
        r"(\bwandb\S*\s+(?:login\s+)?)([0-9a-f]{40})\b",
        # A secret-like name and its value, in shell, YAML, JSON, INI, or on a command line.
        r"((?<![\w$.])-{0,2}[\"']?(?:[a-z0-9]+[_.-])*(?:password|passwd)[\"']?(?:\s?[=:]\s?|\s(?<=-password\s))[\"']?)"
        r"(?![$<])([^\s\"',;&$<]{4,})",
        r"((?<![\w$.])-{0,2}[\"']?(?:[a-z0-9]+[_.-])*(?:token|secret|api[_-]?key|(?:access|account|private|secret)[_-]?key"
        r"(?:[_-]id)?|credentials?)[\"']?\s?[=:]\s?[\"']?)(?![$<])([^\s\"',;&$<]{8,})",
        r"(\s--(?:[a-z0-9]+-)*(?:token|secret|api-key|access-key)\s+)(?![$<-])([^\s$<]{8,})",
    )
)
# Only lines with one of these can contain a credential: most lines are skipped after one search.
HINT = re.compile(
    r"token|secret|passw|key|credential|bearer|authori[sz]ation|cookie|://|[?&]sig|curl|wandb|_pat_|hf_|sk-|nvapi-|gh[pousr]_"
    r"|A[KS]IA|glpat-|xox|ya29|AIza|npm_|pypi-|[rs]k_|r8_|eyJ",
    re.IGNORECASE,
)
ORDINARY_NAME = re.compile(
    r"(?i)\b(?:pad|eos|bos|unk|cls|sep|mask|image|video|vision|special|start|end|per|each|next|\w*_pad)_token\b"
)
ORDINARY_VALUE = re.compile(r"[\d.,:%]+|(?i:true|false|none|null)|\[redacted\]\S*")


def secret_paths(value: Any, path: str = "") -> Iterator[str]:
    """Yield the dotted path of every secret in a nested value, by its name or by its format."""
    if isinstance(value, dict):
        for key, child in value.items():
            where = f"{path}.{key}" if path else str(key)
            if isinstance(child, str) and child.strip() and SECRET_NAME.search(str(key)):
                yield where
            else:
                yield from secret_paths(child, where)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from secret_paths(child, f"{path}[{index}]")
    elif isinstance(value, str) and SECRET_VALUE.search(value):
        yield path


def without_secret(value: Any) -> Any:
    """Return the value, or None if it contains a secret."""
    return None if any(True for _ in secret_paths(value)) else value


def redacted(text: str) -> str:
    """Return the text with everything that looks like a credential masked."""
    if not HINT.search(text):
        return text
    text = SECRET_VALUE.sub(MASK, PRIVATE_KEY.sub(MASK, text))
    for place in SECRET_PLACES:
        text = place.sub(_masked_place, text)
    return text


class Masker:
    """Masks line by line: what `redacted` masks, whole private keys, and the values of this process's secrets.

    Those are the variables with secret-like names and at least 8 characters, and the URL that events are posted to.
    """

    def __init__(self) -> None:
        named = {value for name, value in os.environ.items() if name == "TAO_POST_URL" or SECRET_NAME.search(name)}
        own = sorted((re.escape(value) for value in named if len(value) >= SHORTEST), key=len, reverse=True)
        self._own = re.compile("|".join(own)) if own else None
        self._in_key = False

    def __call__(self, line: str) -> str:
        if self._in_key:
            end = KEY_ENDS.search(line)
            if end is None:
                return MASK
            self._in_key, line = False, line[end.end() :]
            return MASK + self._mask(line)
        begins = [found.end() for found in KEY_BEGINS.finditer(line)]
        self._in_key = bool(begins) and KEY_ENDS.search(line, begins[-1]) is None
        return self._mask(line)

    def _mask(self, line: str) -> str:
        return redacted(line if self._own is None else self._own.sub(MASK, line))


def _masked_place(found: re.Match[str]) -> str:
    if ORDINARY_NAME.search(found[1]) or ORDINARY_VALUE.fullmatch(found[2]):
        return found[0]
    return found[1] + MASK
