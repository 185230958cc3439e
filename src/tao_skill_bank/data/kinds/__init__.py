"""Kinds of input, found by location: `data/kinds/<kind>.py`, else `kinds/<kind>.py` of the model that reads it.

A kind is one file that holds `KIND`: how inputs of that kind are staged, looked at, checked, sampled and shown. What
only the rooms above know, such as what an object store lists, comes in `Context`.
"""

import pkgutil
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from tao_skill_bank.contracts import Finding, Input, Workload, from_json
from tao_skill_bank.data.headers import Budget
from tao_skill_bank.data.sampled_media import Probed
from tao_skill_bank.errors import BlockedError, Problem, RequestError

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """What one path of a kind names.

    Attributes:
        holds: a file for sure, a folder for sure, or any of them.
        is_index: a file that names all others; before a launch it is read from an object store while it is small.
        named_in: the path whose file names those files of this folder that are read.

    """

    holds: Literal["file", "folder", "any"] = "any"
    is_index: bool = False
    named_in: str = ""


@dataclass(frozen=True)
class Context:
    """What a kind is given to look with.

    Attributes:
        pool: runs the probes of media.
        scratch: a folder that is removed afterwards.
        workload: the action that reads the inputs.
        required_fields: what every record must have.
        num_samples: media that are decoded per input where not all of them are.
        decode_seconds: time limit for each of them.
        header_budget: time for the headers of all media of all inputs.
        local_copies: index files in object stores to a copy on this machine.
        unread: index files in object stores to why there is no copy.
        is_stored: whether a path lies in an object store whose names can be listed.
        stored_names: hashes of the paths of all files in some folders of an object store; None for too many.

    """

    pool: Executor
    scratch: Path
    workload: Workload = field(default_factory=Workload)
    required_fields: tuple[str, ...] = ()
    num_samples: int = 8
    decode_seconds: float = 20.0
    header_budget: Budget = field(default_factory=Budget)
    local_copies: Mapping[str, str] = field(default_factory=dict)
    unread: Mapping[str, Finding] = field(default_factory=dict)
    is_stored: Callable[[str], bool] = lambda _: False
    stored_names: Callable[[Sequence[str]], "array[int] | None"] = lambda _: None


class Seen(Protocol):
    """What looking at one input found."""

    @property
    def input(self) -> Input: ...
    @property
    def failure(self) -> Finding | None:
        """Why it could not be looked at, if so."""

    @property
    def num_usable(self) -> int:
        """Records or clips that the action can use."""

    @property
    def num_media(self) -> int:
        """Different media files of all its records; 0 where there are no records."""

    @property
    def noun(self) -> str:
        """What `num_usable` counts, in the plural."""

    @property
    def records(self) -> Sequence[Probed]:
        """Sampled records whose media were decoded, from which sequence lengths are predicted."""


@dataclass(frozen=True)
class Found:
    """What looking found of a kind that has no records: nothing but whether it can be used, and why not.

    Attributes:
        findings: what else there is to say.

    """

    input: Input
    failure: Finding | None = None
    findings: Sequence[Finding] = ()
    num_media: int = 0
    noun: str = "inputs"
    records: Sequence[Probed] = ()

    @property
    def num_usable(self) -> int:
        return 0 if self.failure else 1


def findings_of(seen: Sequence[Found], _: Context) -> list[Finding]:
    """Return what was found; the `check` of kinds that see a `Found`."""
    return [finding for each in seen for finding in (*([each.failure] if each.failure else []), *each.findings)]


def first_path(given: Input) -> str:
    """Return the first path of an input."""
    return next(iter(given.paths.values()))


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        title: what a plan calls it, after its role.
        options: a contract dataclass of `Input.options`; every field has a default.
        paths: the names of `Input.paths`, and what each of them names.
        look: looks at one input; whatever is wrong with it is in the result.
        check: returns the findings on all inputs of this kind that an action reads, as they were seen.
        shown: the line of a plan or report that says what is read.
        media_folders: those of the paths that results name their media relative to.

    """

    title: str
    options: type[Any]
    paths: Mapping[str, Place]
    look: Callable[[Input, Context], Seen]
    check: Callable[[Sequence[Any], Context], list[Finding]]
    shown: Callable[[Input], str] = first_path
    media_folders: tuple[str, ...] = ()


def of(given: Input, package: str) -> Kind:
    """Return the kind of an input that the model `package` reads. Raises BlockedError like `load`."""
    return load(given.kind, package)


def load(name: str, package: str = "") -> Kind:
    """Return a kind by its name: one of the bank's, else one of the model `package`.

    Raises:
        BlockedError: there is none, or its module holds no proper KIND.

    """
    module = next((module for module in _modules(name, package) if _file(module)), None)
    if module is None:
        message = f"{_reader(package)}: there is no kind of input '{name}'."
        fix = f"Use one of {', '.join(names(package))}, or write kinds/{name}.py next to it."
        raise BlockedError.of("unknown_input_kind", message, fix, path=f"inputs.{name}")
    kind = getattr(import_module(module), "KIND", None)
    if wrong := _fault(kind):
        fix = "Write KIND = Kind(...) as the modules of tao_skill_bank.data.kinds do."
        raise BlockedError.of("invalid_input_kind", f"{_file(module)}: {wrong}.", fix, path=f"inputs.{name}")
    assert isinstance(kind, Kind)
    return kind


def row(given: Input, package: str) -> tuple[str, str]:
    """Return what a plan or report calls an input, and the line that says what is read. Raises like `load`."""
    kind = of(given, package)
    return (given.role if given.role == kind.title else f"{given.role} {kind.title}"), kind.shown(given)


def media_folders(given: Input, package: str) -> tuple[str, ...]:
    """Return the folders that results name media of an input relative to. Raises like `load`."""
    return tuple(given.paths[name] for name in of(given, package).media_folders)


def names(package: str = "") -> list[str]:
    """Return the kinds that a model may name: the bank's and its own."""
    folders = list(__path__)
    if own := _spec(f"{package}.kinds") if package else None:
        folders += own.submodule_search_locations or []
    return sorted({module.name for module in pkgutil.iter_modules(folders)})


def require(inputs: Sequence[Input], package: str) -> None:
    """Refuse inputs that their kinds do not understand. Raises BlockedError, with all problems together."""
    problems = [problem for given in inputs for problem in _problems(given, package)]
    if problems:
        raise BlockedError(list({(problem.code, problem.message): problem for problem in problems}.values()))


def options_of(kind: type[T], given: Input) -> T:
    """Return the options of an input as its kind's own dataclass. Raises RequestError for those that it has not."""
    return from_json(kind, given.options, f"input '{given.role}'")


def _modules(name: str, package: str) -> list[str]:
    if not name.isidentifier():
        return []
    return [f"{__name__}.{name}", *([f"{package}.kinds.{name}"] if package else [])]


def _file(module: str) -> str:
    """Return the file of a module; empty when there is none."""
    spec = _spec(module)
    return (spec.origin or "") if spec else ""


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except ModuleNotFoundError:  # of a package that it would lie in
        return None


def _reader(package: str) -> str:
    """Return the file in which a model names its inputs."""
    return (_file(f"{package}.workload") if package else "") or package or "workload"


def _fault(kind: Any) -> str:
    """Return what is wrong with a module's KIND."""
    if not isinstance(kind, Kind):
        return "it has no KIND" if kind is None else "its KIND is not a tao_skill_bank.data.kinds.Kind"
    if not is_dataclass(kind.options):
        return "the options of its KIND are not a dataclass"
    required = [each.name for each in fields(kind.options) if each.default is each.default_factory is MISSING]
    return f"these options of its KIND have no default: {', '.join(required)}" if required else ""


def _problems(given: Input, package: str) -> list[Problem]:
    try:
        kind = of(given, package)
    except BlockedError as error:
        return list(error.problems)
    where = _reader(package)
    path = f"inputs.{given.role}"
    found = []
    if set(given.paths) != set(kind.paths):
        message = f"{where}: {given.kind} '{given.role}' names the paths {', '.join(given.paths) or 'none'}."
        found.append(Problem("invalid_input_paths", message, f"Name {', '.join(kind.paths)}.", path))
    try:
        options_of(kind.options, given)
    except RequestError as error:
        known = ", ".join(each.name for each in fields(kind.options)) or "none"
        found += [
            Problem("invalid_input_option", f"{where}: {problem.message}", f"Options of {given.kind}: {known}.", path)
            for problem in error.problems
        ]
    return found
