"""Datasets of a request -> spec keys. Root mode: one folder; direct mode: separate annotations and media."""

from collections.abc import Iterator, Mapping
from typing import Any

from tao_skill_bank.bank.catalog import did_you_mean
from tao_skill_bank.bank.skill_info import DatasetContract, DataSource
from tao_skill_bank.contracts import DatasetPaths, Request
from tao_skill_bank.core import locations, nested
from tao_skill_bank.data.dataset_root import annotations_in, media_in
from tao_skill_bank.errors import Problem


def dataset_values(value: str | DatasetPaths, source: DataSource, contract: DatasetContract) -> dict[str, str]:
    """Return the spec keys that a dataset fills: {dotted path: absolute path or URI}."""
    if source.folder:
        return {source.folder: absolute(value if isinstance(value, str) else value.media_path)}
    if source.annotation_path is None or source.media_path is None:
        raise AssertionError("a data source is a folder, or annotations and media")
    if isinstance(value, DatasetPaths):
        return {source.annotation_path: absolute(value.annotation_path), source.media_path: absolute(value.media_path)}
    root = absolute(value)
    return {source.annotation_path: annotations_in(root, contract.annotation_file), source.media_path: media_in(root)}


def dataset_problems(
    skill: str, request: Request, sources: Mapping[Any, DataSource], spec: Mapping[str, Any]
) -> Iterator[Problem]:
    """Yield unknown dataset roles, missing datasets of the action, and files given where folders are expected."""
    for role, value in request.datasets.items():
        path = f"datasets.{role}"
        if role not in sources:
            message = f"{skill} {request.action} does not read a dataset '{role}'.{did_you_mean(role, sources)}"
            roles = ", ".join(sources) or "none"
            fix, expected = f"Datasets of this action: {roles}.", f"one of {roles}"
            yield Problem("unknown_dataset", message, fix, path, role, expected)
        else:
            yield from _shape_problems(role, value, sources[role])
    for role, source in sources.items():
        missing = [path for path in source.keys if not nested.get(spec, path)]
        if 0 < len(missing) < len(source.keys) or (missing and source.required):
            yield Problem(
                code="missing_dataset",
                message=f"{skill} {request.action} needs {missing[0]}"
                + (f" and {missing[1]}." if missing[1:] else "."),
                fix=f"Give datasets.{role} ({_option(role)}), or {' '.join(f'--set {path}=PATH' for path in missing)}.",
                path=missing[0].rpartition(".")[0],
                expected="an existing path",
                fix_choices=() if source.required else ({missing[0].rpartition(".")[0]: None},),
            )


def _option(role: str) -> str:
    return f"--{role} FOLDER" if role in ("train", "eval") else f"--dataset {role}=FOLDER"


def _shape_problems(role: str, value: str | DatasetPaths, source: DataSource) -> Iterator[Problem]:
    path = f"datasets.{role}"
    if source.folder:
        if isinstance(value, DatasetPaths):
            message = f"Dataset '{role}' is a single folder for this action, without separate annotations and media."
            yield Problem("dataset_is_a_folder", message, f"Give datasets.{role} as a path.", path)
    elif isinstance(value, str) and value.endswith((".json", ".jsonl", ".tar.gz")):
        message = f"Dataset '{role}' is a file; a dataset root is a folder with annotations and media."
        keys = f"--set {source.annotation_path}=FILE --set {source.media_path}=FOLDER"
        yield Problem("dataset_is_a_file", message, f"Give the folder, or in direct mode: {keys}", path, value)


def absolute(name: str) -> str:
    """Return a local path made absolute; a URI is returned unchanged."""
    return name.rstrip("/") if "://" in name else str(locations.absolute(name))
