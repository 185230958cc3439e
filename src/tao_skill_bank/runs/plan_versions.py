"""Versions of the plan document: what this release seals, and how it reads run directories of earlier releases.

A sealed plan of an earlier version is not run, because the programs that it would start have changed. Its run directory
stays readable; only `upgrade` knows how the versions differ.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import Plan, from_json
from tao_skill_bank.core import json_reader, numbers, regular_files
from tao_skill_bank.errors import ConflictError, RequestError
from tao_skill_bank.runs.workload_versions import workload_of_version_1

CURRENT: int = Plan.schema_version


def upgrade(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan document of version 1 in the form of the current version; any other unchanged.

    `sha256` stays that of the sealed document, which the job record holds.
    """
    job = document.get("job")
    if document.get("schema_version") != 1 or not isinstance(job, dict):
        return dict(document)
    workload = job.get("workload")
    job = {"metric": None, **job}  # absent in version 1
    if isinstance(workload, dict):
        job["workload"] = workload_of_version_1(workload)
    return {**document, "job": job, "schema_version": 2}


def shaped(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan document of any version in the current form, for readers that take what they can of it.

    Of the parts that are objects, only those that are objects are kept, those of the job included; a job has an id.
    """
    try:
        upgraded = upgrade(document)
    except (KeyError, TypeError, ValueError, AttributeError):  # of version 1, and not as that version wrote it
        upgraded = dict(document)
    job = upgraded.get("job")
    if isinstance(job, dict):
        upgraded["job"] = _with_objects(job, ("spec", "config", "workload", "platform", "resources"))
    return _with_objects(upgraded, ("job", "request", "route", "study", "files"))


def _with_objects(document: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names or isinstance(value, dict)}


def digest(document: Mapping[str, Any]) -> str:
    """Return the sha256 of every field of a plan document except the hash itself."""
    covered = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()


def read_document(path: Path) -> dict[str, Any]:
    """Return the document of a plan file, of any version.

    Raises:
        RequestError: it is not a JSON object, or a number in it is not finite.

    """
    try:
        document = json_reader.loads(regular_files.read_bytes(path))
    except (OSError, ValueError) as error:
        message = f"{path} cannot be read as JSON: {error}"
        raise RequestError.of("unreadable_json", message, "Give a valid JSON file.", path=str(path)) from None
    if not isinstance(document, dict):
        message = f"{path} does not hold a plan: it is not a JSON object."
        raise RequestError.of("not_a_plan", message, "Give a file that `tao-skills plan --out` wrote.", path=str(path))
    require_finite(document, str(path))
    return document


def read_launched(path: Path, *, sealed: bool = False) -> Plan:
    """Return the plan in a run directory, of this version or an earlier one; `sealed` also compares its hash.

    Raises:
        RequestError: the file is not a plan.
        ConflictError: it is of a version that this release does not know, or was edited after it was sealed.

    """
    document = read_document(path)
    if sealed:
        require_intact(document, str(path))
    try:
        upgraded = upgrade(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"{path} is not a plan of version {document.get('schema_version')}: {error!r}"
        raise RequestError.of("not_a_plan", message, "Restore the file that was launched.", path=str(path)) from None
    if upgraded.get("schema_version", CURRENT) != CURRENT:
        message = f"{path} has schema_version {upgraded['schema_version']}; this release reads 1 to {CURRENT}."
        fix = "Use the release of tao-skill-bank that wrote it, or a later one."
        raise ConflictError.of("plan_version", message, fix, path=str(path), got=upgraded["schema_version"])
    return from_json(Plan, upgraded, str(path))


def require_finite(document: Mapping[str, Any], source: str) -> None:
    """Refuse a plan with a number that is not finite, which a hash covers as null. Raises RequestError."""
    if (path := numbers.first_not_finite(document)) is not None:
        message = f"{source} holds a number at {path} that is not finite."
        fix = f"Plan the request again, with a finite number for {path}."
        raise RequestError.of("number_not_finite", message, fix, path=path)


def require_intact(document: Mapping[str, Any], source: str) -> None:
    """Refuse a plan whose content is not what was sealed. Raises ConflictError."""
    if digest(document) != document.get("sha256"):
        message = f"{source} was edited after it was sealed: its content does not match its sha256."
        fix = "Plan the request again: tao-skills plan ... --out FILE"
        raise ConflictError.of("stale_plan", message, fix, path=source)
