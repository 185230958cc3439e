"""Asks the training plane, in a child process, what a config builds: parameters, LoRA matches, bytes. Cached."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import tomli_w

from tao_skill_bank.contracts import Finding, Job
from tao_skill_bank.core import json_reader, nested, settings, unfinished, yaml12
from tao_skill_bank.core.findings import blocking, info, not_checked
from tao_skill_bank.core.version import __version__
from tao_skill_bank.runs.run_directory import read_object

TIMEOUT_SECONDS = 120
ANSWERS = "5"  # raised when inspect modules report more, so that older answers are not taken from the cache
MODEL_PATH_FILES = ("config.json", "adapter_config.json", "*/config.json")  # of a model, or of a pipeline's parts
INPUT_FILES = ("adapter_config.json",)  # of inputs that become part of the model


@dataclass(frozen=True)
class Inspection:
    """The training plane's answer, or the finding that says why there is none; a model that cannot run blocks.

    `tokens` are those of the longest record that the answer is for; None where they are not known.
    """

    answer: Mapping[str, Any] = field(default_factory=dict)
    failure: Finding | None = None
    tokens: int | None = None


def sibling_module(job: Job, name: str) -> str | None:
    """Return the module `name` in the package of the one that trains; None when the model has none."""
    package = job.module.rpartition(".")[0]
    module = f"{package}.{name}"
    try:
        return module if package and find_spec(module) else None
    except ModuleNotFoundError:
        return None


def check(inspection: Inspection) -> list[Finding]:
    """Return why the model could not be inspected, if it could not, and what its spec names in vain."""
    if inspection.failure:
        return [inspection.failure]
    problems, notes = inspection.answer.get("problems", ()), inspection.answer.get("notes", ())
    return [
        *(replace(finding_of(each), evidence={"got": each["got"]}) for each in problems),
        *(info(note["code"], note["message"], note["path"]) for note in notes),
    ]


def inspect(job: Job, tokens: int | None = None) -> Inspection:
    """Return what the config of `job` builds, or why that is not known.

    Args:
        job: what is to run.
        tokens: predicted tokens of its longest sampled record, from which a training's memory follows.

    """
    is_sized = job.workload.trains and sibling_module(job, "inspect") is not None  # maybe from scratch
    if not job.workload.model and not is_sized:
        return Inspection()  # nothing is loaded
    if not (job.workload.trains or job.workload.sized):
        message = f"The peak memory of {job.action} is not estimated: whether it fits was not checked."
        fix = "Try it on a few records first; lower the batch size or the inputs' size when it runs out of memory."
        return Inspection(failure=not_checked("memory_not_estimated", message, fix))
    module = sibling_module(job, "inspect")
    if module is None:
        return _failed(f"{job.module} has no inspect module in its package.", "Add one to have sizes predicted.")
    if find_spec("torch") is None:
        return _failed("Memory, disk and adapters need torch to be predicted.", "pip install 'tao-skill-bank[train]'")
    cached = settings.state_dir() / "cache" / "inspect" / f"{_identity(job, tokens)}.json"
    if kept := read_object(cached):
        return Inspection(kept, tokens=tokens)
    found = _ask(job, module, tokens)
    if not found.failure:
        _store(cached, found.answer)
    return found


def elsewhere(job: Job) -> Inspection:
    """Return the inspection of a model that only the machines of the job see."""
    message = f"Memory, disk and adapters were not predicted: {job.workload.model} is not visible from here."
    fix = "Plan on a machine that sees it, such as a login node of the cluster, to have them predicted."
    return Inspection(failure=not_checked("model_not_inspected", message, fix, job.workload.model))


def _ask(job: Job, module: str, tokens: int | None) -> Inspection:
    answer, reason = ask(job, module, _arguments(job, tokens))
    if not reason:
        return Inspection(answer, tokens=tokens)
    if problem := answer.get("problem"):
        return Inspection(failure=finding_of(problem))
    return _failed(f"{module} could not determine what the config builds: {reason}", "Correct the cause that it names.")


def fitting(job: Job, inspection: Inspection, where: Literal["gpu", "host"], num_bytes: int) -> list[dict[str, Any]]:
    """Return the overrides with which a job fits, one of each kind of change; none where the model offers none.

    Args:
        job: what does not fit.
        inspection: of its config as it is.
        where: memory that is short.
        num_bytes: of it, for one process.

    """
    module = sibling_module(job, "inspect")
    if module is None or sibling_module(job, "ladders") is None:
        return []
    answer, reason = ask(job, module, [*_arguments(job, inspection.tokens), f"--{where}-memory={num_bytes}"])
    return [] if reason else list(answer.get("fitting", ()))


def ask(job: Job, module: str, arguments: Sequence[str]) -> tuple[dict[str, Any], str]:
    """Run a module of the training plane on a job's spec; return its answer and, when it failed, the reason."""
    with tempfile.TemporaryDirectory() as folder:
        spec = nested.without_nulls(job.spec)
        config = Path(folder) / Path(job.config_file).name
        text = tomli_w.dumps(spec) if config.suffix == ".toml" else yaml12.render(spec)
        config.write_text(text, encoding="utf-8")
        command = [sys.executable, "-P", "-m", module, "--config", str(config), *arguments]
        try:
            child = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
                env=settings.child_environment(CUDA_VISIBLE_DEVICES="", TORCHINDUCTOR_CACHE_DIR=folder),
            )
        except subprocess.TimeoutExpired:
            return {}, f"it did not answer within {TIMEOUT_SECONDS} seconds"
    lines = child.stdout.strip().splitlines()
    try:
        answer = json_reader.loads(lines[-1]) if lines else {}
    except ValueError:
        answer = {}
    if child.returncode == 0 and answer:
        return answer, ""
    said = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
    return answer, str(answer.get("error") or said[-1])


def _arguments(job: Job, tokens: int | None) -> list[str]:
    return ["--action", job.action, *([] if tokens is None else ["--tokens", str(tokens)])]


def finding_of(problem: Mapping[str, Any]) -> Finding:
    """Return the blocking finding that a problem is, as a program of the training plane prints one."""
    found = blocking(problem["code"], problem["message"], problem["fix"], problem["path"])
    choices = tuple(problem.get("fix_choices", ()))
    return replace(found, fix_set=problem.get("fix_set", {}), fix_choices=choices)


def _failed(message: str, fix: str) -> Inspection:
    return Inspection(failure=not_checked("model_not_inspected", message, fix))


def _identity(job: Job, tokens: int | None) -> str:
    """Hash what the answer depends on: the spec but for its paths, our version, the checkpoint's own config files."""
    values = job.spec
    for path in job.workload.unsized:
        values = nested.without(values, path)
    spec = json.dumps(values, sort_keys=True)
    model = [job.workload.model] if Path(job.workload.model).is_dir() else []
    for place in (job.results_dir, *model, *job.workload.input_paths):
        spec = spec.replace(json.dumps(place), '""')  # the location of files changes nothing that is built
    parts = [__version__, ANSWERS, job.module, job.action, str(tokens), spec]
    parts += [text for pattern in MODEL_PATH_FILES for text in _texts(Path(job.workload.model), pattern)]
    parts += [text for path in job.workload.input_paths for name in INPUT_FILES for text in _texts(Path(path), name)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _texts(folder: Path, pattern: str) -> list[str]:
    files = sorted(file for file in folder.glob(pattern) if file.is_file()) if folder.is_dir() else []
    return [f"{pattern} {file.read_text(encoding='utf-8', errors='replace')}" for file in files]


def _store(path: Path, answer: Mapping[str, Any]) -> None:
    """Keep an answer; a cache that cannot be written only costs the next preflight some seconds."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    work = unfinished.next_to(path)
    try:
        work.write_text(json.dumps(answer), encoding="utf-8")
        work.replace(path)
    except OSError:
        with suppress(OSError):
            work.unlink(missing_ok=True)
