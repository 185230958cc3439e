"""The gate before plan and launch: blocking findings and routes, and their exit codes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Finding, Job, Plan, Request, Route, Workload, to_json
from tao_skill_bank.core import numbers
from tao_skill_bank.core.redact import masked, secrets_used
from tao_skill_bank.errors import (
    BackendError,
    BlockedError,
    ConflictError,
    MissingExtraError,
    Problem,
    RequestError,
    UnknownNameError,
)
from tao_skill_bank.jobs import taken
from tao_skill_bank.platforms import Platform
from tao_skill_bank.runs import enclosing

CREDENTIAL, CHECKPOINT, STORAGE = "credential_", "checkpoint_missing", "storage_unreachable"
SECRET_FIX = "Plan the request again without it, and export it as an environment variable."
COMMON_NUMBERS = {"preflight_samples", "preflight_decode_seconds", "preflight_header_seconds"}
BLOCKING_FOR_AUTOML = {"train_eval_overlap"}


def raise_if_blocked(findings: Sequence[Finding]) -> None:
    """Raise the error of blocking findings, if there are any.

    Raises:
        BlockedError: exit 4 when only credentials block, else 3.
        BackendError: exit 6, when only an object store or an engine that cannot be reached blocks.
        ConflictError: exit 7, when only a results folder that is taken blocks.
        UnknownNameError: exit 5, when only a missing checkpoint blocks.
    """
    if not findings:
        return
    problems = [as_problem(found) for found in findings]
    if all(found.code == CHECKPOINT for found in findings):
        raise UnknownNameError(problems)
    if all(found.code.startswith(CREDENTIAL) for found in findings):
        raise BlockedError(problems, exit_code=4)
    if all(found.evidence.get("conflict") is True for found in findings):
        raise ConflictError(problems)
    is_unreachable = all(found.code == STORAGE or found.evidence.get("unreachable") is True for found in findings)
    raise BackendError(problems) if is_unreachable else BlockedError(problems)


def as_problem(found: Finding) -> Problem:
    """Return the problem that a blocking finding is."""
    return Problem(
        found.code,
        found.message,
        found.fix,
        found.path,
        fix_set=found.fix_set,
        fix_choices=found.fix_choices,
    )


def of_run_directory(job: Job, request: Request, route: Route) -> list[Finding]:
    """Return the finding of a run directory inside that of a job which the request does not name, or of a taken one."""
    found = enclosing.problem(job.results_dir, request)
    return [_of_problem(found)] if found is not None else _taken(job, route)


def _taken(job: Job, route: Route) -> list[Finding]:
    """Return the finding of a results folder that a launch would refuse as a conflict with what is there."""
    study: dict[str, Any] | None = {} if route.kind == "automl" else None
    try:
        found = taken.problem(job, study, is_continued=taken.continued_job(job) is not None)
    except ConflictError as error:
        found = error.problems[0]
    if found is None or (job.workload.resume and found.code == enclosing.OF_SEARCH):  # preflight of resuming reports it
        return []
    return [_of_problem(found, conflict=True)]


def _of_problem(found: Problem, **evidence: Any) -> Finding:
    return Finding(
        found.code,
        "blocking",
        found.message,
        found.fix,
        found.path,
        evidence,
        fix_set=dict(found.fix_set),
        fix_choices=tuple(dict(choice) for choice in found.fix_choices),
    )


def for_route(findings: Sequence[Finding], route: Route) -> list[Finding]:
    """Return the findings for the route: some are harmless for one training but mislead a search."""
    stricter = BLOCKING_FOR_AUTOML if route.kind == "automl" else set()
    return [replace(found, severity="blocking") if found.code in stricter else found for found in findings]


def require_known_options(request: Request, platform: Platform) -> None:
    """Refuse unknown platform options and invalid numbers. Raises RequestError with all of them."""
    amounts = {*COMMON_NUMBERS, *platform.number_options}
    texts = ("device", *platform.text_options)
    problems = []
    for name, value in request.platform.options.items():
        path = f"platform.options.{name}"
        if name not in (*texts, *amounts):
            message = (
                f"Platform {platform.name} has no option '{name}'.{catalog.did_you_mean(name, [*amounts, *texts])}"
            )
            problems.append(
                Problem("unknown_option", message, f"Use: {', '.join([*texts, *sorted(amounts)])}.", path, value)
            )
        elif name in amounts and (numbers.finite(value) or 0) <= 0:
            message = f"Platform option {name} is {value!r}; expected a number above 0."
            problems.append(Problem("invalid_option", message, f"Write --option {name}=NUMBER.", path, value))
    if problems:
        raise RequestError(problems)


def with_masked_prompt(request: Request) -> tuple[Request, list[Finding]]:
    """Return the request with the secrets in its words masked, and a finding where there were any."""
    prompt = masked(request.prompt)
    if prompt == request.prompt:
        return request, []
    message = "The prompt holds a credential. It is masked in the plan, and nothing uses it."
    fix = "Revoke it where it was issued if others saw it, and export it as an environment variable."
    return replace(request, prompt=prompt), [Finding("prompt_masked", "warning", message, fix, "prompt")]


def require_ordinary_names(request: Request) -> None:
    """Refuse a secret in place of a name, which an error would repeat. Raises RequestError."""
    names = {name: getattr(request, name) for name in ("skill", "action", "parent_job_id", "checkpoint")}
    problems = [
        Problem("secret_in_request", f"{path} holds {_held(variable)}.", "Write a name there.", path)
        for path, variable in secrets_used({**names, "platform.name": request.platform.name})
    ]
    if problems:
        raise RequestError(problems)


def require_no_secret(plan: Plan) -> None:
    """Refuse a plan that holds a secret: it would be written into the run directory. Raises RequestError."""
    problems = [
        Problem("secret_in_plan", f"{path} of the plan holds {_held(variable)}.", SECRET_FIX, path)
        for path, variable in secrets_used(to_json(plan))
    ]
    if problems:
        raise RequestError(problems)


def _held(variable: str) -> str:
    return f"the value of the environment variable {variable}" if variable else "a credential"


def require_validation(route: Route, workload: Workload) -> None:
    """Refuse a search that has nothing to compare its trials on. Raises RequestError."""
    has_validation = workload.validation_split or "eval" in workload.roles
    if route.kind == "automl" and not has_validation:
        message = "AutoML compares trials on validation data, and there is none."
        fix = "Give an eval dataset (--eval PATH) or a validation split, or turn AutoML off: --automl-policy off"
        raise RequestError.of("automl_needs_validation", message, fix, path="datasets.eval")


def missing_extra(error: MissingExtraError) -> Finding:
    """Return the finding for a search that this machine cannot plan or run; another one may, and plans it there."""
    problem = error.problems[0]
    fix = f"{problem.fix}, or train directly: --automl-policy off"
    return Finding("automl_extra_missing", "warning", problem.message, fix, "automl_policy", {"blocks_run": True})


def require_launchable(plan: Plan, findings: Sequence[Finding]) -> None:
    """Refuse a plan that was blocked when it was sealed, or that `findings` of now block.

    Raises like `raise_if_blocked`.
    """
    now = [found for found in findings if found.blocks_run and found not in plan.blocking]
    raise_if_blocked([*plan.blocking, *now])


def require_runnable(plan: Plan) -> None:
    """Refuse a plan whose route or action this release cannot run, or that holds no launch. Raises BlockedError."""
    job = plan.job
    if not catalog.find(job.skill).is_implemented(job.action):
        message = f"{job.skill} {job.action} can be planned but not run: this release has no {job.module}."
        raise BlockedError.of("action_not_available", message, "Use another action, or a newer release.", path="action")
    if not plan.argv:
        message = f"The plan of job {job.id} holds no launch: where it was made, not everything of it was known."
        raise BlockedError.of("plan_without_launch", message, "Plan the request again here: tao-skills plan ...")
