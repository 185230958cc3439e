"""YAML as people type it: PyYAML with the core schema of YAML 1.2.

PyYAML follows YAML 1.1, where `off` and `yes` are booleans, `1e-5` is a string and `1:30` is a number.
"""

import json
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from tao_skill_bank.core import regular_files
from tao_skill_bank.core.limits import (
    MAX_BITS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    TOO_DEEP,
    TOO_MANY_DIGITS,
    is_digits_error,
    is_too_deep,
)
from tao_skill_bank.errors import RequestError

# Section 10.3.2 of the YAML 1.2.2 specification, tag resolution of the core schema.
CORE_SCHEMA = (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
)

PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}
SURROGATE = re.compile("[\ud800-\udfff]")
VALUE_ENDS = (yaml.ScalarToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)


class _Loader(yaml.SafeLoader):
    """Refuses aliases (a request needs none, and nested ones grow without bound) and keys that are given twice."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - declared so by the base class
    depth = 0  # of the node that is composed; the scanner's time grows with its square

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.get_mark()
            raise yaml.composer.ComposerError(None, None, "aliases are not supported", mark)
        self.depth += 1
        if self.depth > MAX_DEPTH + 1:  # a scalar at the last level is a node as well
            raise RecursionError
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Refuse what only Python's YAML knows: a request needs no sets, dates or bytes."""
        if node.tag not in PLAIN_TAGS:
            raise yaml.constructor.ConstructorError(None, None, f"the tag {node.tag} is not supported", node.start_mark)
        return super().construct_object(node, deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Join the two halves of a character that JSON escapes; half a character cannot be written anywhere."""
        text = super().construct_scalar(node)
        try:
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le") if SURROGATE.search(text) else text
        except UnicodeDecodeError:
            raise yaml.constructor.ConstructorError(None, None, "it holds half a character", node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        seen: set[Any] = set()
        for key_node, _ in node.value if len(mapping) < len(node.value) else ():
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key} is given twice", key_node.start_mark)
            seen.add(key)
        return mapping


class _Dumper(yaml.SafeDumper):
    """Quotes every string that either version of YAML would read as something else."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


class _ScriptDumper(_Dumper):
    """Writes text of several lines as it is."""


def _represent_script(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    if "\n" not in text or any(end in text for end in "\x85\u2028\u2029"):
        return _represent_string(dumper, text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")


def _represent_string(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    """Escape line ends that readers turn into spaces: next line, line and paragraph separator."""
    style = '"' if any(end in text for end in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _construct_int(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    value = int(text, 0) if re.match(r"0[ox]", text) else int(text)
    if value.bit_length() > MAX_BITS:  # Python itself limits decimal digits only
        raise yaml.constructor.ConstructorError(None, None, TOO_MANY_DIGITS, node.start_mark)
    return value


def _construct_float(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node))


for _tag, _pattern, _first in CORE_SCHEMA:
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))
    _Dumper.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))
_Dumper.add_representer(str, _represent_string)
_ScriptDumper.add_representer(str, _represent_script)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)


def parse(text: str, source: str) -> Any:
    """Return the value of a YAML 1.2 document. Raises RequestError with the line and column of a mistake."""
    try:
        value = yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise _beyond(source, TOO_DEEP) from None
    except (ValueError, KeyError) as error:  # also a text under a tag of numbers or booleans
        raise _beyond(
            source,
            TOO_MANY_DIGITS
            if isinstance(error, ValueError) and is_digits_error(error)
            else f"it has the value {error}",
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        message = f"{source} is not valid YAML{where}: {' '.join(str(getattr(error, 'problem', error)).split())}"
        raise RequestError.of("invalid_yaml", message, "Correct the YAML, or quote the value.", path=source) from None
    if is_too_deep(value):
        raise _beyond(source, TOO_DEEP)
    return value


def _beyond(source: str, limit: str) -> RequestError:
    message = f"{source} is not valid YAML: {limit}."
    return RequestError.of("invalid_yaml", message, "Correct the YAML, or quote the value.", path=source)


def parse_value(text: str, source: str) -> Any:
    """Return one value that was typed on a command line: YAML, but nothing is an empty text, and text stays verbatim.

    Raises:
        RequestError: it is not YAML, or a part of it would be a comment.

    """
    if not text.strip():
        return text
    value = parse(text, source)
    tokens = [token for token in yaml.scan(text, Loader=_Loader) if isinstance(token, VALUE_ENDS)]
    rest = text[max((token.end_mark.index for token in tokens), default=0) :].strip()
    if rest.startswith("#"):
        message = f"{source}: '{rest}' is a YAML comment and would be dropped."
        fix = f"Quote the whole value: {source}={shlex.quote(json.dumps(text, ensure_ascii=False))}"
        raise RequestError.of("comment_in_value", message, fix, path=source)
    is_plain = len(tokens) == 1 and isinstance(tokens[0], yaml.ScalarToken) and tokens[0].plain
    return text if is_plain and isinstance(value, str) else value


def read(path: Path) -> Any:
    """Return the value of a YAML 1.2 file. Raises RequestError when it cannot be read."""
    try:
        text = regular_files.read_given(path, MAX_CHARACTERS).decode()
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        raise RequestError.of("unreadable_file", message, "Give a readable UTF-8 file.", path=str(path)) from None
    return parse(text, str(path))


def parse_all(text: str, source: str) -> list[Any]:
    """Return the values of a stream of documents. Raises RequestError like `parse`."""
    return [parse(part, source) for part in re.split(r"^---\n", text, flags=re.MULTILINE) if part.strip()]


def render_all(values: Iterable[Any]) -> str:
    """Return a stream of documents, in which text of several lines stays readable."""
    documents = [
        yaml.dump(value, Dumper=_ScriptDumper, sort_keys=False, allow_unicode=True, width=110) for value in values
    ]
    return "---\n".join(documents)


def render(value: Any) -> str:
    """Return block-style YAML that YAML 1.1 and 1.2 readers understand alike."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
