"""A request as the command line that spells it."""

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tao_skill_bank.contracts import PlatformRequest, Request, from_json
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import RequestError
from tao_skill_bank.runs.run_directory import read_json_file

PROGRAM = "tao-skills"
COPY = "planned_request.json"
OWN_OPTIONS = ("train", "eval")  # roles of datasets


def plan_command(request: Request, out: Path) -> str | None:
    """Return the command that plans a request into a file, or None when only a request file can spell it."""
    if not _is_spelled(request):
        return None
    return shlex.join([PROGRAM, "plan", request.skill, request.action, *_words(request), "--out", str(out)])


def plan_again(sealed: Mapping[str, Any], plan_file: Path) -> str:
    """Return the command that plans the request of a sealed plan, a document of any version, into the plan's file.

    A plan in its run directory stays as it is: the new one gets its name in the current folder. Where only a request
    file can spell the request and none is there, the command is preceded by how to make one.
    """
    document, is_launched = sealed["request"], _is_in_run_directory(sealed, plan_file)
    out = Path(plan_file.name) if is_launched else plan_file
    try:
        spelled = plan_command(from_json(Request, document, str(plan_file)), out)
    except RequestError:  # of another release; its problems are shown once it is planned
        spelled = None
    if spelled is not None:
        return spelled
    launched = plan_file.with_name("request.json")
    if is_launched and read_json_file(launched) == document:
        return _plan_file(launched, out)
    return f"copy `request` of {plan_file} to {COPY}, then: {_plan_file(Path(COPY), out)}"


def _is_in_run_directory(sealed: Mapping[str, Any], plan_file: Path) -> bool:
    job = sealed.get("job")
    folder = job.get("results_dir") if isinstance(job, dict) else None
    return isinstance(folder, str) and plan_file.resolve().is_relative_to(Path(folder).resolve())


def _plan_file(request_file: Path, out: Path) -> str:
    return shlex.join([PROGRAM, "plan", "--request", str(request_file), "--out", str(out)])


def _is_spelled(request: Request) -> bool:
    """Tell whether options can say all of a request: they name datasets by folder, and values as YAML."""
    pairs = [*request.overrides.items(), *request.automl.items(), *request.platform.options.items()]
    return (
        all(data and isinstance(data, str) for data in request.datasets.values())
        and all(name and "=" not in name for name in [*(name for name, _ in pairs), *request.datasets])
        and all(_survives(value) for _, value in pairs)
    )


def _survives(value: Any) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    try:
        return json.dumps(yaml12.parse(text, "a value"), ensure_ascii=False) == text
    except (RequestError, TypeError):  # not YAML, or a key that is not text
        return False


def _words(request: Request) -> Iterator[str]:
    platform = request.platform
    for role, data in request.datasets.items():
        yield from (f"--{role}", str(data)) if role in OWN_OPTIONS else ("--dataset", f"{role}={data}")
    yield from _pairs("--set", request.overrides)
    yield from _pairs("--automl", request.automl)
    yield from _pairs("--option", platform.options)
    values = {
        "--say": request.prompt or None,
        "--automl-policy": request.automl_policy,
        "--platform": None if platform.name == PlatformRequest().name else platform.name,
        "--gpus": platform.gpus,
        "--nodes": platform.nodes,
        "--results-dir": request.results_dir,
        "--parent": request.parent_job_id,
        "--checkpoint": request.checkpoint,
        "--image": request.image,
    }
    for option, value in values.items():
        if value is not None:
            yield from (option, str(value))
    if request.base:
        yield "--base"


def _pairs(option: str, values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield from (option, f"{name}={json.dumps(value, ensure_ascii=False)}")
