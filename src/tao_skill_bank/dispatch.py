"""The stages of a request, in order. Nothing is written or launched before `run`, nor when a finding blocks."""

from dataclasses import replace

from tao_skill_bank import catalog, jobs, parents, planner, platforms, policy, preflight, spec
from tao_skill_bank.contracts import Finding, Plan, Request, Route, Workload
from tao_skill_bank.errors import BlockedError, Problem, RequestError, UnknownNameError

CREDENTIAL, CHECKPOINT = "credential_", "checkpoint_missing"
BLOCKING_FOR_AUTOML = {"train_eval_overlap"}


def plan(request: Request) -> Plan:
    """Return the sealed plan of a request, with every finding of preflight; read-only. Raises TaoSkillsError."""
    skill = catalog.find(request.skill)
    platform = platforms.load(request.platform.name)
    skill.action(request.action)
    parent = parents.inherit(skill, request)
    built = spec.build(skill, request, parent.values)
    route, route_findings = policy.route(skill, request)
    job = planner.assemble(skill, request, built, parent, jobs.new_job_id(skill.info.network_arch, request.action))
    _check_automl(route, job.workload)
    findings = [_for_route(finding, route) for finding in preflight.run(job, platform)]
    drafted = planner.draft(job, request, route, [*built.findings, *route_findings, *findings])
    return planner.seal(drafted, platform.render(drafted))


def run(sealed: Plan) -> jobs.JobHandle:
    """Launch a sealed plan: record, then submit. Raises BlockedError (nothing written), BackendError, ConflictError."""
    raise_if_blocked(sealed.blocking)
    skill = catalog.find(sealed.job.skill)
    if sealed.route.kind == "automl":
        raise BlockedError([_automl_missing(sealed.route)])
    if not skill.is_implemented(sealed.job.action):
        message = (
            f"{skill.name} {sealed.job.action} can be planned but not run: this release has no {sealed.job.module}."
        )
        raise BlockedError.of("action_not_available", message, "Use another action, or a newer release.", path="action")
    return jobs.launch(sealed)


def recheck(sealed: Plan) -> None:
    """Look at the world again for a plan that was sealed earlier. Raises BlockedError."""
    findings = preflight.run(sealed.job, platforms.load(sealed.job.platform.name))
    raise_if_blocked(tuple(finding for finding in findings if finding.severity == "blocking"))


def raise_if_blocked(findings: tuple[Finding, ...]) -> None:
    """Raise the error whose exit code says what blocks: 4 only credentials, 5 only a missing checkpoint, else 3."""
    if not findings:
        return
    problems = [Problem(found.code, found.message, found.fix, found.path) for found in findings]
    if all(found.code.startswith(CREDENTIAL) for found in findings):
        raise BlockedError(problems, exit_code=4)
    raise UnknownNameError(problems) if all(found.code == CHECKPOINT for found in findings) else BlockedError(problems)


def _for_route(finding: Finding, route: Route) -> Finding:
    blocks = route.kind == "automl" and finding.code in BLOCKING_FOR_AUTOML
    return replace(finding, severity="blocking") if blocks else finding


def _check_automl(route: Route, workload: Workload) -> None:
    if (
        route.kind == "automl"
        and not workload.validation_split
        and all(use.role != "eval" for use in workload.datasets)
    ):
        message = "AutoML compares trials on validation data, and there is none."
        fix = "Give an eval dataset (--eval PATH) or a validation split, or turn AutoML off: --automl-policy off"
        raise RequestError.of("automl_needs_validation", message, fix, path="datasets.eval")


def _automl_missing(route: Route) -> Problem:
    message = f"The request routes to {route.skill}, which this release does not have ({route.reason})."
    return Problem("automl_not_available", message, "Train directly: --automl-policy off", "automl_policy")
