"""Every regular expression of the package, read from its source, and the texts that would take one longest."""

import ast
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from re import _constants as codes
from re import _parser as parser

SOURCE = Path(__file__).parents[2] / "src" / "tao_skill_bank"
MAX_PARTS = 5
ANCHORED = {"match", "fullmatch"}
METHODS = ANCHORED | {"compile", "search", "sub", "subn", "split", "findall", "finditer"}


@dataclass(frozen=True)
class Used:
    """A pattern, the place that has it, and the methods that it is used by (any, where none is found)."""

    place: str
    pattern: re.Pattern
    methods: frozenset[str]


def in_source():
    """Return the patterns of the package, and the places of those that only a running program knows."""
    used, unknown = [], []
    texts = {path: path.read_text() for path in sorted(SOURCE.rglob("*.py"))}
    calls = set(re.findall(rf"\b([A-Z][A-Z_0-9]*)\.({'|'.join(METHODS)})\(", "\n".join(texts.values())))
    for path, text in texts.items():
        if re.search(r"\bre\.[a-z]", text) is None:
            continue
        tree = ast.parse(text)
        nodes = list(ast.walk(tree))
        names = _constants(tree) | {"__name__": _module(path)}
        targets = {id(node.value): node.targets[0].id for node in nodes if _is_assignment(node)}
        for call in (node for node in nodes if _is_call(node)):
            place = f"{path.relative_to(SOURCE)}: {ast.unparse(call.args[0])[:60]}"
            try:
                pattern = _evaluated(call, names)
            except Exception:  # noqa: BLE001 - whatever it needs is not there yet
                unknown.append(place)
                continue
            method, name = call.func.attr, targets.get(id(call))
            found = {method} if method != "compile" else {called for owner, called in calls if owner == name}
            used.append(Used(place, pattern, frozenset(found)))
    return used, unknown


def attacks(pattern, length):
    """Yield texts of about `length` characters that match a part of the pattern again and again, and then do not."""
    parsed = parser.parse(pattern.pattern)
    pieces = list(dict.fromkeys(_pieces(parsed)))[:MAX_PARTS]
    starts = [_sample(parsed[:end]) for end in range(1, len(parsed) + 1)][-MAX_PARTS:]
    units = dict.fromkeys([*pieces, *starts, *(a + b for a in pieces[:3] for b in pieces[:3] if a != b)])
    for unit in filter(None, units):
        body = unit * (length // len(unit))
        for before in dict.fromkeys(["", *starts]):
            yield before + body + "\x01"


def run(pattern, method, text):
    """Do with a text what the package does with it, over the whole of it."""
    text = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
    if method in ANCHORED:
        getattr(pattern, method)(text)
    else:
        for _ in pattern.finditer(text):
            pass


def _is_call(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
        and node.func.attr in METHODS
    )


def _is_assignment(node):
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)


def _module(path):
    return ".".join(("tao_skill_bank", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def _constants(tree):
    """Return the names of a module that are made of literals."""
    names = {"re": re}
    for node in tree.body:
        if _is_assignment(node):
            try:
                names[node.targets[0].id] = _value(node.value, names)
            except Exception:  # noqa: BLE001 - whatever it needs is not there yet
                continue
    return names


def _evaluated(call, names):
    """Return the pattern of a call; a name that only the running module has is taken from there."""
    try:
        given = _value(call.args[0], names)
    except NameError:
        given = _value(call.args[0], vars(import_module(names["__name__"])))
    wanted = [keyword.value for keyword in call.keywords if keyword.arg == "flags"]
    wanted += [node for node in call.args[1:] if ast.unparse(node).startswith("re.")]
    flags = [_value(node, names) for node in wanted]
    return re.compile(given, *flags)


def _value(node, names):
    return eval(compile(ast.Expression(node), "", "eval"), dict(names))


def _pieces(parsed):
    """Yield a sample of everything that is repeated without an end, and of what is inside it."""
    for operation, argument in parsed:
        if operation in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT) and argument[1] > 20:
            yield _sample(argument[2])
        for part in _inside(argument):
            yield from _pieces(part)


def _inside(argument):
    if isinstance(argument, parser.SubPattern):
        return [argument]
    if isinstance(argument, (list, tuple)):
        return [part for item in argument for part in _inside(item)]
    return []


def _sample(parsed):
    return "".join(_sample_of(operation, argument) for operation, argument in parsed)


def _sample_of(operation, argument):  # noqa: PLR0911 - one line for each operation
    if operation is codes.LITERAL:
        return chr(argument)
    if operation is codes.NOT_LITERAL:
        return "a" if argument != ord("a") else "b"
    if operation is codes.ANY:
        return "a"
    if operation is codes.IN:
        return _member(argument)
    if operation in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        return _sample(argument[2]) * max(argument[0], 1)
    if operation is codes.BRANCH:
        return _sample(argument[1][0])
    if operation is codes.SUBPATTERN:
        return _sample(argument[-1])
    if operation is codes.ATOMIC_GROUP:
        return _sample(argument)
    return ""


def _member(items):
    candidates = " a0A._-/\n\t!:,=\"'" + "".join(chr(value) for op, value in items if op is codes.LITERAL)
    pattern = parser.SubPattern(parser.State(), [(codes.IN, items)])
    compiled = re._compiler.compile(pattern)
    return next((character for character in candidates if compiled.match(character)), "a")
