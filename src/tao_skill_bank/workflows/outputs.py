"""What steps give to later ones: the outputs of requests and loops, by name, and the folders of steps."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.runs.results import Result
from tao_skill_bank.workflows import stage as stages
from tao_skill_bank.workflows.declaration import Step
from tao_skill_bank.workflows.references import Reference

OF_REQUEST = {
    "job": "the id of its job",
    "folder": "its run directory",
    "metrics": "figures of an evaluation, or the last ones of a training, as metrics.NAME",
    "losses": "of a training, as losses.NAME",
    "best": "of a training, as best.best_score",
    "artifacts": "paths of what it wrote, as artifacts.KIND",
    "steps": "steps that it took",
    "seconds": "how long it took",
}
OF_LOOP = {
    "iterations": "how many there were",
    "stopped_by": "`until`, `at_most`, or the words of the step that stopped it",
}
OF_STOP = {"reason": "its words"}


def names_of(step: Step, *, is_loop: bool) -> list[str] | None:
    """Return the outputs that a step gives; None where that is not known, because its stage is not."""
    if is_loop:
        return list(OF_LOOP)
    if step.kind == "stop":
        return list(OF_STOP)
    if step.kind == "request":
        return list(OF_REQUEST)
    try:
        return ["folder", *stages.find(str(step.stage)).OUTPUTS]
    except UnknownNameError:
        return None


def of_job(job_id: str, folder: Path, result: Result, seconds: float) -> dict[str, Any]:
    """Return the outputs of a request."""
    found = asdict(result)
    artifacts = {
        kind: str(folder / (name if isinstance(name, str) else name[-1])) for kind, name in result.artifacts.items()
    }
    kept = {name: found[name] for name in ("metrics", "losses", "best", "steps")}
    return {"job": job_id, "folder": str(folder), **kept, "artifacts": artifacts, "seconds": seconds}


def value_of(given: Mapping[str, Any], reference: Reference) -> Any:
    """Return one of the outputs of a step; names below the first may hold dots.

    Raises:
        UnknownNameError: the step gave no such value.

    """
    node: Any = given
    rest = reference.output
    while rest:
        if not isinstance(node, Mapping):
            raise _missing(reference, ())
        if rest in node:
            return node[rest]
        first, _, rest = rest.partition(".")
        if first not in node or not rest:
            raise _missing(reference, list(node))
        node = node[first]
    raise _missing(reference, ())


def _missing(reference: Reference, known: Any) -> UnknownNameError:
    message = f"The step '{reference.step}' gave no {reference.output}."
    fix = f"Use one of what it gave: {', '.join(known) or 'nothing'}."
    return UnknownNameError.of("output_missing", message, fix, path=str(reference))


def folder_name(name: str) -> str:
    """Return the name of a step's folder."""
    return "-".join(name.split())
