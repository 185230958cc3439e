"""The stages of a request, in order. Nothing is written or launched before `run`, nor when a finding blocks.

A blocked plan holds what would be submitted all the same, for review.
"""

from collections.abc import Sequence
from dataclasses import replace

from tao_skill_bank import platforms, preflight
from tao_skill_bank.automl.plan import estimates, study
from tao_skill_bank.bank import catalog, consistency, images
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.contracts import Finding, Plan, Request, to_json
from tao_skill_bank.core.findings import from_error
from tao_skill_bank.errors import BlockedError, MissingExtraError
from tao_skill_bank.jobs import service
from tao_skill_bank.planning import (
    base_models,
    gate,
    launches,
    metric_words,
    parents,
    planner,
    policy,
    reviewed,
)
from tao_skill_bank.preflight.machine import duration
from tao_skill_bank.spec import build, door, proven_fixes


def plan(request: Request, *, compares_resumed: bool = True, notes: Sequence[Finding] = ()) -> Plan:
    """Return the sealed plan of a request with every finding of preflight; read-only.

    `compares_resumed` is false if the caller's own request wrote the checkpoint to resume from: comparing them takes a
    process that loads the training plane. `notes` are findings of the caller that the plan shows as well.

    Raises:
        RequestError: the request contradicts the schema or itself, or the skill does not fit its model package.
        UnknownNameError: a skill, action, platform, parent or checkpoint does not exist.
    """
    door.require_plain(request)
    gate.require_ordinary_names(request)
    request, masked_findings = gate.with_masked_prompt(request)
    skill = catalog.find(request.skill)
    consistency.require(skill)
    platform = platforms.load(request.platform.name)
    skill.action(request.action)
    gate.require_known_options(request, platform)
    parent = parents.inherit(skill, request)
    built = build.build(skill, request, parent.values)
    request = replace(request, overrides=dict(built.overrides))
    route, route_findings = policy.route(skill, request)
    job_id = service.new_job_id(skill.info.network_arch, request.action)
    job = planner.assemble(skill, request, built, parent, job_id, one_machine=platform.one_machine)
    job, image_findings = images.choose(job, skill, runs_in_image=platform.uses_image(request.platform.options))
    gate.require_validation(route, job.workload)
    findings = [
        *masked_findings,
        *built.findings,
        *gate.of_run_directory(job, request, route),
        *base_models.findings(skill, request, job, parent.values),
        *route_findings,
        *metric_words.check(skill, request, route, job),
        *notes,
        *image_findings,
        *gate.for_route(preflight.run(job, platform, compares_resumed=compares_resumed), route),
    ]
    findings = proven_fixes.proven_findings(
        findings, lambda added: build.problems_with(skill, request, added, parent.values)
    )
    drafted = planner.draft(job, request, route, findings)
    if route.kind == "automl":
        drafted = _with_study(drafted, skill, built.given)
    return launches.sealed(drafted)


def run(sealed: Plan, findings: Sequence[Finding] | None = None, *, retry_of: str | None = None) -> service.JobHandle:
    """Launch a sealed plan: record, then submit. `findings` replace those of the plan's own that do not block it.

    They are those of `look_again`.

    Raises:
        RequestError: the plan holds a secret; nothing was written.
        BlockedError: a finding blocks, or this release cannot run it; nothing was written.
        ConflictError: the plan was edited or ran before, its config is not what it shows, or its results folder is not
            empty.
        BackendError: the platform rejected the job.
    """
    planner.verify(sealed)
    reviewed.require_same_config(sealed)
    gate.require_no_secret(sealed)
    gate.require_launchable(sealed, sealed.findings if findings is None else findings)
    gate.require_runnable(sealed)
    return service.launch(sealed, retry_of=retry_of)


def look_again(sealed: Plan) -> list[Finding]:
    """Return the findings of preflight now, for a plan that was sealed earlier or on another machine."""
    return gate.for_route(preflight.run(sealed.job, platforms.load(sealed.job.platform.name)), sealed.route)


def _with_study(drafted: Plan, skill: Skill, given: frozenset[str]) -> Plan:
    """Return the plan of a search, for review before anything starts.

    If a requirement of the search is missing, the plan shows the fix and cannot be run. A search that cannot be decided
    is a finding of a plan that others block already, so that they all are shown.

    Raises:
        RequestError: what `automl` says contradicts the schema, the skill or itself.
        BlockedError: the algorithm cannot search this, and nothing else blocks.

    """
    try:
        prepared = study.prepare(skill, drafted.request, drafted.job, given, drafted.findings)
    except MissingExtraError as error:
        return planner.noting(drafted, gate.missing_extra(error))
    except BlockedError as error:
        if not drafted.blocking:
            raise
        return planner.noting(drafted, *from_error(error))
    findings = [found for found in drafted.findings if found.code != duration.CODE]  # of one training
    drafted = replace(drafted, findings=(*findings, *estimates.finding(prepared.estimate, drafted.job)))
    located = study.located(skill, drafted.request, drafted.job, given)
    request = replace(
        located, image=located.image or drafted.job.image
    )  # reviewed with the plan; trials do not ask again
    return replace(drafted, request=request, study=to_json(prepared))
