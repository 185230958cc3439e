"""The forms that a secret takes within one line: rules, each with a hint that a linear search can look for first.

A hint is an expression without lookarounds and references back, case-insensitive, that every text holds in which its
rule finds something: a line in which no hint of `HINT` is found stays as it is.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tao_skill_bank.core.redact.names import ORDINARY_NAME, SERVICES, is_secret_name, names_object
from tao_skill_bank.core.redact.values import MASK, VALUE, is_reference, masked_value


class Rule(NamedTuple):
    """One form.

    Attributes:
        hint: what a line holds where the rule may find something.
        lead: what stands in front of the credential; group `name` where the name decides.
        value: the credential.
        least: characters of the shortest one that is masked; a function of the two matches where it depends on them,
            None of which leaves the value as it is.
        keeps_numbers: whether a number is no credential here.

    """

    hint: str
    lead: str
    value: str = VALUE
    least: int | Callable[[re.Match[str], re.Match[str]], int | None] = 1
    keeps_numbers: bool = True


SHORTEST = 8  # characters of a credential that only its name betrays; shorter ones would mask ordinary words
LONGEST_SEARCHED = 256  # characters of a value that is none and may hold others
LONGEST_NAME = 64  # characters in front of the word that betrays a name

# Credentials known by their format, anywhere: (hint, pattern).
_FORMATS = (
    (r"hf_", r"\bhf_[A-Za-z0-9]{16,}"),
    (r"nvapi-", r"\bnvapi-[\w-]+"),
    (r"sk-", r"\bsk-(?=[\w-]{0,200}\d)[\w-]{16,}"),
    (r"gh[pousr]_|github_pat", r"\b(?:gh[pousr]|github_pat)_[A-Za-z0-9_]{20,}"),
    (r"a[ks]ia[a-z0-9]", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    (r"glpat-", r"\bglpat-[\w-]{16,}"),
    (r"xox[abeprs]-", r"\bxox[abeprs]-[\w-]{10,}"),
    (r"aiza", r"\bAIza[\w-]{30,}"),
    (r"ya29\.", r"\bya29\.[\w-]{20,}"),
    (r"npm_", r"\bnpm_[A-Za-z0-9]{30,}"),
    (r"pypi-", r"\bpypi-[\w-]{20,}"),
    (r"dckr_pat", r"\bdckr_pat_[\w-]{20,}"),
    (r"[rs]k_(?:live|test)", r"\b[rs]k_(?:live|test)_\w{10,}"),
    (r"r8_", r"\br8_[A-Za-z0-9]{30,}"),
    (r"gsk_", r"\bgsk_[A-Za-z0-9]{20,}"),
    (r"wandb_v", r"\bwandb_v\d_\w{20,}"),
    (
        r"private key(?: block)?-----",
        r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----|$)",
    ),
    (r"eyj", r"\beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"),
)
SECRET_VALUE = re.compile("|".join(pattern for _, pattern in _FORMATS))

_PASSWORD = r"(?:password|passwd|passphrase)"
_KEY_OF = rf"(?:api|access|account|private|secret|storage|encryption|(?:{SERVICES})(?:[_-]?cli)?)"
_NAMED = (
    r"(?:(?:auth|access|refresh|session|api|hf|oauth|identity|registry)?token|(?:client|app)?secret|credentials?"
    rf"|{_KEY_OF}[ _-]?key(?:[_-]?id)?)"
)
_VARIABLE = r"[A-Z0-9]_(?:KEY|PASS|PWD|PAT|AUTH)"
_LEFT = r"(?:(?<![A-Za-z0-9])|(?-i:(?<=[a-z0-9])(?=[A-Z])))"
_ASSIGNED = (
    r"(?P<sep>\\*[\"']?\]?(?:[ \t]{0,20}(?::=|=>|:)[ \t]{0,20}|[ \t]{1,20}={1,3}[ \t]{0,20}"
    r"|={1,3}(?:[ \t]{1,20}(?=[\"']))?)(?:\([ \t]{0,20}(?=[\"']))?)"
)
_ASSIGNED_HINT = r"\\*[\"']?\]?\s*[:=]"
_FLAG = rf"--?(?:[a-z0-9]{{1,32}}[_-]){{0,6}}(?P<name>{_PASSWORD}|token|secret|{_KEY_OF}[_-]?key|credentials?)"
_FLAG_HINT = rf"-[\w-]{{0,64}}(?:{_PASSWORD}|token|secret|key|credentials?)"
_PAIR = r"\\*[\"']?[ \t]{0,4}[:=][ \t]{0,4}"
_PAIR_NAME = r"\\*[\"']?(?P<name>[\w.-]{1,128})\\*[\"']?"
_ENDS_NAME = r"token|secret|passw|passphrase|key|pass|pwd|pat|credential"
_URL_END = r"[^\s\"'<]+"


_CODE = re.compile(
    r"[A-Za-z_]+(?:\.[A-Za-z_]+)*\(|[A-Za-z_]+(?:\.[A-Za-z_]+)+\[|--"
)  # a call, an item, the next option
_CODE_OF_MODULE = re.compile(r"[A-Za-z_]+(?:\.[A-Za-z_]+)+[(\[]")  # `getpass.getpass(`; a password may hold a bracket
_DOTTED_NAME = re.compile(r"[a-z_]{2,}(?:\.(?:[A-Za-z_]+|\d{1,3}))+\.?")  # `model.layers.12.weight`
_TO_LOGIN = re.compile(r"[ \t]*\|[^|;&\n]{0,400}?--(?:password-stdin|with-token)")


def _named(lead: re.Match[str], value: re.Match[str]) -> int | None:
    """Leave the value of `pad_token` or `time per token`, which only sound like a credential."""
    before = lead.string[max(0, lead.start() - LONGEST_NAME) : lead.start()]
    name = before + lead["name"]
    if _CODE.match(value[0]) or ORDINARY_NAME.search(name) or names_object(name, value[0].strip("\"',}])`")):
        return None
    if lead["name"].lower().startswith("ngc"):
        return 1
    return 4 if lead["name"].isupper() and "=" in lead["sep"] else SHORTEST


def _mixed(_: re.Match[str], value: re.Match[str]) -> int | None:
    """Mask what has letters and digits, as a credential has: what surrounds it says little."""
    is_mixed = re.search(r"\d", value[0]) and re.search(r"[A-Za-z]", value[0])
    return SHORTEST if is_mixed and not _DOTTED_NAME.fullmatch(value[0]) else None


def _password(_: re.Match[str], value: re.Match[str]) -> int | None:
    return None if _CODE_OF_MODULE.match(value[0]) else 4


def _user_part(_: re.Match[str], value: re.Match[str]) -> int | None:
    """Leave `user:$PASSWORD` of a URL."""
    return None if is_reference(value[0].partition(":")[2]) else 1


def _piped(_: re.Match[str], value: re.Match[str]) -> int | None:
    return 1 if _TO_LOGIN.match(value.string, value.end()) else None


def _login(_: re.Match[str], value: re.Match[str]) -> int | None:
    return None if re.fullmatch(r"\d{1,5}(?::\d{1,5})?", value[0].strip("\"'")) else 1  # a port, or two


def _pair(lead: re.Match[str], _: re.Match[str]) -> int | None:
    return 1 if is_secret_name(lead["name"]) else None


def _pair_after(_: re.Match[str], value: re.Match[str]) -> int | None:
    following = _NAME_AFTER.match(value.string, value.end())
    return 1 if following and is_secret_name(following["name"]) else None


_NAME_AFTER = re.compile(rf"[ \t]*,[ \t]*\\*[\"']?name{_PAIR}{_PAIR_NAME}", re.IGNORECASE)
RULES = (
    Rule(
        r"://",
        r"://",
        r"[^\s/:@'\"]*:(?!\d{1,5}/)[^\s@'\"]{1,512}+(?:@[^\s@/:?'\"]{1,512}(?=@))*(?=@)",
        _user_part,
    ),
    # A user's name that is an address of mail.
    Rule(r"://", r"://", r"[^\s/:@'\"]{1,64}@[\w.-]{1,128}:(?!\d{1,5}(?:/|$))[^\s/@'\"]{1,512}+(?=@)", _user_part),
    Rule(r"://", r"://", r"[^\s/:@'\"]{16,}(?=@)", _mixed),
    Rule(
        r"proxy",
        r"proxy[^\s=:]{0,10}[=: ][ \t]?[\"']?",
        r"[^\s/:@'\"]{1,128}+:[^\s/:@'\"]{1,512}+(?=@)",
        _user_part,
    ),
    Rule(
        r"hooks\.slack|/webhooks/|office\.com|api\.telegram",
        r"https://(?:hooks\.slack\.com/|discord(?:app)?\.com/api/webhooks/|[\w.-]{0,99}webhook\.office\.com/"
        r"|outlook\.office\.com/webhook/|api\.telegram\.org/bot)",
        _URL_END,
    ),
    Rule(
        r"authorization",
        r"\bauthorization[\"']?[ \t]?[:=][ \t]?[\"']?(?:(?:basic|bearer|token)[ \t]+)?",
        r"[^\s\"'<]+",
        SHORTEST,
    ),
    Rule(r"bearer\s", r"\bbearer[ \t]+(?=[^\s\"']*\d)", r"[\w.~+/-]+=*", SHORTEST),
    Rule(r"cookie:", r"\b(?:set-)?cookie:[ \t]*", r"\S.*"),
    Rule(r"[?&;](?:x-amz-)?sig", r"[?&;](?:x-amz-signature|signature|sig)=", r"[^&\s\"'<]+"),
    Rule(r"x-amz-[cs]", r"[?&;]x-amz-(?:credential|security-token)=", r"[^&\s\"'<]+"),
    Rule(
        r"[?&;][\w-]{0,64}(?:token|key|password)=", r"[?&;](?:[\w-]{0,64}token|key|api_?key|password)=", VALUE, SHORTEST
    ),
    Rule(r"curl", r"\bcurl\b[^|\n]{0,400}?[ \t](?:-u|--user)[ =]?[ \t]*[\"']?", r"[^\s:\"']+:[^\s\"']+", _user_part),
    Rule(r"\spassword\s", r"\blogin[ \t]+\S+[ \t]+password[ \t]+", r"\S+"),
    Rule(r"password\s", r"^[ \t]*password[ \t]+(?=\S+[ \t]*\r?$)", r"\S+", _mixed),
    # What is written to the standard input of a login.
    Rule(
        r"password-stdin|with-token",
        r"\b(?:echo(?:[ \t]+-[ne]{1,3})?|printf(?:[ \t]+[\"']?%s(?:\\n)?[\"']?)?)[ \t]+",
        VALUE,
        _piped,
    ),
    Rule(r"password-stdin|with-token", r"--(?:password-stdin|with-token)[^|;&\n]{0,400}?<<<[ \t]*"),
    Rule(r"mysql", r"\bmysql\w{0,10}\b[^|;&\n]{0,400}?[ \t](?-i:-p)(?=[^\s-])", VALUE, _login),
    Rule(r"pwd=", r"\b(?:uid|user id)=[^;]{0,99};[ \t]?(?:[\w ]{1,32}=[^;]{0,99};[ \t]?){0,4}pwd="),
    # `setenv NAME X`, `ENV NAME X` of a Dockerfile, `os.environ.setdefault("NAME", "X")`.
    Rule(
        rf"(?:env|setdefault|set\s+-\w+)[\s(\"']+[\w.-]*(?:{_ENDS_NAME})",
        r"(?:^[ \t]*(?-i:ENV)|\b(?:setenv|putenv|setdefault)|\bset[ \t]{1,4}-[a-z]{1,3})[ \t(\"']{1,4}"
        r"(?P<name>[\w.-]{1,128})(?:[\"'][ \t]*,[ \t]*|[ \t]{1,20})",
        VALUE,
        _pair,
    ),
    Rule(r"wandb", r"\bwandb\S{0,64}[ \t]+(?:login[ \t]+)?", r"[0-9a-f]{40}\b"),
    # -p X, -pX and "-p", "X" of a login; a port mapping is no part of one.
    Rule(
        r"login\W",
        r"\blogin(?![\w.-])[^|;&\n]{0,400}?[\s\"',]-p(?!(?:ort|rofile|ath|ublish|roject|assword)\b)"
        r"(?:=|[\"']?,?[ \t]{1,20}|[\"'],)?",
        VALUE,
        _login,
        keeps_numbers=False,
    ),
    Rule(r"sshpass", r"\bsshpass[ \t]{1,20}-p[ \t]{0,20}"),
    # A name and its value, in shell, YAML, JSON, INI, source code or on a command line.
    Rule(rf"{_PASSWORD}{_ASSIGNED_HINT}", rf"{_PASSWORD}{_ASSIGNED}", VALUE, _password, keeps_numbers=False),
    Rule(rf"{_NAMED}{_ASSIGNED_HINT}", rf"{_LEFT}(?P<name>{_NAMED}){_ASSIGNED}", VALUE, _named),
    Rule(rf"{_VARIABLE}{_ASSIGNED_HINT}", rf"(?-i:{_VARIABLE}){_ASSIGNED}", VALUE, _mixed),
    Rule(r"\"auth\"", r"\"auth\"[ \t]*:[ \t]*\"", r"[A-Za-z0-9+/=]+(?=\")", SHORTEST),
    Rule(_FLAG_HINT, rf"(?<![\w-]){_FLAG}(?P<sep>[ \t]{{1,20}})(?![-\\])", VALUE, _named),
    Rule(_FLAG_HINT, rf"[\"']{_FLAG}[\"'][ \t]*,[ \t]*(?![\"']?-)"),
    Rule(rf"(?:{_PASSWORD}|{_NAMED})>", rf"(?:{_PASSWORD}|{_NAMED})>", r"[^<>\s]+(?=</)", 4),
    # `name: HF_TOKEN, value: X` in either order.
    Rule(
        r"name\W{1,12}[\w.-]{1,128}\W{1,12}value",
        rf"\bname{_PAIR}{_PAIR_NAME}[ \t]*,[ \t]*\\*[\"']?value{_PAIR}",
        VALUE,
        _pair,
    ),
    Rule(
        rf"name\W{{1,12}}[\w.-]{{0,128}}(?:{_ENDS_NAME})",
        rf"\bvalue{_PAIR}",
        VALUE,
        _pair_after,
    ),
    # ${HF_TOKEN:-X}
    Rule(r"\$\{\w{1,64}:?[-=+]", r"\$\{(?P<name>\w{1,64}):?[-=+]", r"[^${}\s\"']+(?=\})", _pair),
    # "Incorrect API key provided: X"
    Rule(
        r"(?:token|key|password|secret)\s(?:provided|is|was)",
        r"(?:token|key|password|secret)[ \t](?:provided|is|was)(?:[ \t]set[ \t]to)?[ \t]?[:=]?[ \t]?",
        VALUE,
        _mixed,
    ),
)
HINTS = tuple(dict.fromkeys(("|".join(hint for hint, _ in _FORMATS), *(rule.hint for rule in RULES))))


def masked_line(line: str) -> str:
    """Return one line with the credentials masked that it shows by itself."""
    line = SECRET_VALUE.sub(MASK, line)
    for rule, hint, lead, value in _compiled():
        if hint.search(line):
            line = _applied(rule, lead, value, line)
    return line


_IN_EXPANSION = re.compile(r"\$\{\w*\Z")  # what follows the name there is an operator of the shell


@cache
def _compiled() -> tuple[tuple[Rule, re.Pattern[str], re.Pattern[str], re.Pattern[str]], ...]:
    def pattern(text: str) -> re.Pattern[str]:
        return re.compile(text, re.IGNORECASE)

    return tuple((rule, pattern(rule.hint), pattern(rule.lead), pattern(rule.value)) for rule in RULES)


def _applied(rule: Rule, lead: re.Pattern[str], value: re.Pattern[str], line: str) -> str:
    parts: list[str] = []
    position = 0
    while found := lead.search(line, position):
        end = found.end()
        is_expansion = _IN_EXPANSION.search(line, max(0, found.start() - LONGEST_NAME), found.start())
        if not is_expansion and (credential := value.match(line, end)):
            least = rule.least if isinstance(rule.least, int) else rule.least(found, credential)
            safe = credential[0]
            if least is not None:
                safe = masked_value(credential[0], least, keeps_numbers=rule.keeps_numbers)
            if safe != credential[0] or len(safe) > LONGEST_SEARCHED:
                parts += [line[position:end], safe]
                position = credential.end()
                continue
        end = max(end, position + 1)
        parts.append(line[position:end])
        position = end
    return "".join((*parts, line[position:]))
