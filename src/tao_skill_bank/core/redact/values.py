"""The value next to a secret's name: where it ends, and whether it is a literal."""

import re

from tao_skill_bank.core.redact.names import is_secret_name

MASK = "[redacted]"
# A value is a text in quotes, one in quotes that JSON escaped once more, or a run without spaces, and more such pieces.
_ESCAPED = r"\\+\"(?:[^\"\\\n]|\\+[^\"\\\n])*(?:\\+\"|$)"
_DOUBLE = r"\"(?![,}\])](?:[\s\"{\[]|$))(?:[^\"\\\n]|\\.)*(?:\"|\\?$)"
_SINGLE = r"'(?![,}\])](?:[\s'{\[]|$))[^'\n]*(?:'|$)"
_EXPANSION = r"\$\{\{[^{}\n]*\}\}|\$\{[^{}\n]*\}|\$\([^()\n]*\)|\{\{[^{}\n]*\}\}"
_LETTER = r"(?:[^\s\"'\\,;&<]|\\[^\s\"'\\]|[,;&](?![\s,;&\"']|$|[\w.-]{1,64}[=:]))"
_INNER = r"(?:\"[^\"\s,:;{}()\[\]]+\"|'[^'\s,:;{}()\[\]]+')"
_BARE = rf"(?:{_EXPANSION}|(?![{{\[()}}\]](?!redacted\])){_LETTER})(?:{_EXPANSION}|{_LETTER}|{_INNER})*"
_QUOTED = rf"(?:{_DOUBLE}|{_SINGLE})(?:[ \t]*\+?[ \t]*(?:{_DOUBLE}|{_SINGLE})|(?=[\w$.+/=~@%-]){_LETTER})*"
VALUE = rf"(?:{_ESCAPED}|{_QUOTED}|{_BARE})"

_NAME = r"\$(?:env:)?(?:[A-Z_][A-Z0-9_]*|[a-z_]+)(?![A-Za-z0-9_])|\$[@*#?0-9](?![A-Za-z0-9_])|%[A-Z_]+%"
_PLAIN = r"\$\{\{[^{}]*\}\}|\$\{[^{}:+=-]*(?::?[-=+](?:\$\{?\w+\}?)?|:?\?[^{}]*)?\}|\$\([^()]*\)|\{\{[^{}]*\}\}"
_REFERENCES = re.compile(rf"(?:{_NAME}|{_PLAIN})(?:[:/.,@_+-]?(?:{_NAME}|{_PLAIN}))*")
_OWN_REFERENCE = re.compile(r"\$\{?([A-Z][A-Z0-9_]*)\}?|\$\{\{[^{}]*\}\}|\{\{[^{}]*\}\}")
_DEFAULT = re.compile(r"(\$\{[A-Za-z_]\w*:?[-=+])([^{}]*)(\})")
_QUOTES = re.compile(r"(?<=[\"'])[ \t]*\+?[ \t]*(?=[\"'])|\\*[\"']")
_CLOSERS = {")": "(", "]": "[", "}": "{", ">": "<"}

NUMBER = re.compile(r"[+-]?[\d.,:%]+(?:e[+-]?\d+)?(?: ?(?:[nuµm]?s|min|h|[kmgt]i?b?|x|it|tok)(?:/\w{1,6})?)?", re.I)
ORDINARY = re.compile(
    r"(?i:true|false|none|null|yes|no|on|off|unset|missing|required|optional|invalid|expired|incorrect)"
    r"|(?i:un)?expected|[a-z]{2,6}[_-](?:x{3,}|\.{3}|\*{3,}|…)"
    # The path of a file, as GOOGLE_APPLICATION_CREDENTIALS has.
    r"|(?:~|\.{1,2})?(?:/[\w.-]+)+\.(?:json|ya?ml|pem|key|crt|txt|env)|(?:~|/home|/root|/run|/var/run|/etc)(?:/[\w.-]+)+"
    r"|\[redacted\]|<[^<>]*>|\*+|x{3,}|\.{3}|…|[|>][+-]?\d?[+-]?|[A-Z]{2,6}"
)


def masked_value(value: str, least: int, *, keeps_numbers: bool = True) -> str:
    """Return a value with its literal masked; itself where it is a reference, an ordinary word or too short."""
    value, rest = _without_closing_marks(value)
    content = _QUOTES.sub("", value)
    if default := _DEFAULT.fullmatch(content):
        return value.replace(default[0], default[1] + masked_value(default[2], 1) + default[3]) + rest
    is_ordinary = ORDINARY.fullmatch(content) or (keeps_numbers and NUMBER.fullmatch(content))
    if is_ordinary or len(content) < least or _is_reference(value, content):
        return value + rest
    opening = re.match(r"\\*[\"']", value)
    if opening is None:
        return MASK + rest
    closing = opening[0] if value.endswith(opening[0]) and len(value) > len(opening[0]) else ""
    return opening[0] + MASK + closing + rest


def is_reference(text: str) -> bool:
    """Return whether a text names variables only, as a shell expands them outside of quotes."""
    return _REFERENCES.fullmatch(text) is not None


def _is_reference(value: str, content: str) -> bool:
    """Return whether a value names variables only. Between single quotes a shell expands none."""
    if not value.startswith("'"):
        return is_reference(content)
    found = _OWN_REFERENCE.fullmatch(content)
    return found is not None and (found[1] is None or is_secret_name(found[1]))


def _without_closing_marks(value: str) -> tuple[str, str]:
    """Split off the marks at the end of a bare value that belong to the text around it."""
    end = len(value)
    while end and value[0] not in "\"'\\":
        last = value[end - 1]
        opener = _CLOSERS.get(last)
        is_outer = opener is not None and value.count(opener, 0, end) < value.count(last, 0, end)
        if not is_outer and last not in ".,:;!?`":
            break
        end -= 1
    return value[:end], value[end:]
