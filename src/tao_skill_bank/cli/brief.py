"""The brief answers of validate, preflight and plan: at most 6,000 bytes, where `--full` has everything.

`errors` holds what blocks and `findings` the rest, ten together at most; what is left out is counted by code in `more`.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer

from tao_skill_bank.cli import agent_text, formats, output, shortening
from tao_skill_bank.cli.request_options import Options, command_line
from tao_skill_bank.cli.shortening import any_value, text
from tao_skill_bank.contracts import Finding, Plan, to_json
from tao_skill_bank.core import nested
from tao_skill_bank.core.redact import masked, plain_output
from tao_skill_bank.errors import Problem, TaoSkillsError

MAX_BYTES = 6000
MAX_FINDINGS = 10
ORDER = ("blocking", "warning", "not_checked", "info")
JOB_ID = "<job id>"  # of a plan that is not written: `run` makes a new one
NOTE = "Texts that end in ... are shortened, and `more` counts what is left out: --full shows everything."


@dataclass(frozen=True)
class Limits:
    """The most bytes of a message, a fix, a value, a name and all next commands, and the most keys of a group.

    `extras` are the values, overrides and evidence of findings.
    """

    message: int
    fix: int
    value: int
    name: int
    following: int
    keys: int
    extras: bool = True


LEVELS = (
    Limits(500, 600, 200, 400, 2000, 40),
    Limits(300, 400, 120, 300, 1600, 30),
    Limits(180, 240, 80, 160, 1200, 20),
    Limits(100, 140, 48, 100, 800, 10),
    Limits(50, 60, 28, 40, 400, 5, extras=False),
)


def of_plan(sealed: Plan, code: int, following: Sequence[str], *, written: bool) -> dict[str, Any]:
    """Return what a plan decides; its job id only where the plan is written to a file."""
    from tao_skill_bank.bank import catalog

    job, skill = sealed.job, catalog.find(sealed.job.skill)
    folders = {key for key in skill.action(job.action).results_keys if nested.get(job.spec, key) == job.results_dir}
    facts: dict[str, Any] = {
        "sha256": sealed.sha256,
        **({"job_id": job.id} if written else {}),
        "launchable": bool(sealed.argv) and not sealed.blocking,
        "skill": job.skill,
        "action": job.action,
        "route": {"kind": sealed.route.kind, "skill": sealed.route.skill, "reason": sealed.route.reason},
        "results_dir": job.results_dir,
        "resources": to_json(job.resources),
        "platform": {name: value for name, value in to_json(job.platform).items() if value},
        "image": job.image,
        "steps": _evidence(sealed.findings, "steps"),
        "estimate": _estimate(sealed),
        "search": _search(sealed),
        "changed": changed(skill.schema(job.action)["default"], job.spec, without=folders),
    }
    fields = {name for name in ("steps", "estimate") if facts[name] == _evidence(sealed.findings, name)}
    rest = [found for found in sealed.findings if found.code not in fields or found.severity != "info"]
    return fitted(facts, code=code, findings=rest, following=following, unwritten="" if written else job.id)


def changed(template: Mapping[str, Any], spec: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Return the keys of a spec that differ from its template, by dotted path; None for a deleted one."""
    before, now = dict(nested.flatten(template)), dict(nested.flatten(spec))
    absent = [key for key in before if key not in now and nested.get(spec, key) is None]
    values = {key: value for key, value in now.items() if key not in before or before[key] != value}
    return {key: value for key, value in {**values, **dict.fromkeys(absent)}.items() if key not in without}


def fitted(
    facts: Mapping[str, Any],
    *,
    code: int = 0,
    problems: Sequence[Problem] = (),
    findings: Sequence[Finding] = (),
    following: Sequence[str] = (),
    unwritten: str = "",
) -> dict[str, Any]:
    """Return a document of at most MAX_BYTES: `facts`, and problems and findings as far as they have room.

    `unwritten` is the id of a job that will get another one.
    """
    found = sorted(findings, key=lambda each: ORDER.index(each.severity))
    blocking = [each for each in found if each.severity == "blocking"]
    whole = _whole(
        {
            "errors": [*(problem.to_json() for problem in problems), *(to_json(each) for each in blocking)],
            "findings": [to_json(each) for each in found if each.severity != "blocking"],
            "next": list(following),
            "facts": {name: value for name, value in facts.items() if value not in (None, {})},
        },
        unwritten,
    )
    for limits in LEVELS:
        answer = _shortened(whole, code, limits)
        if _fits(answer):
            return answer
    return _without_largest(answer, whole["facts"])


@contextmanager
def failures(options: Options, *, as_json: bool, full: bool) -> Iterator[None]:
    """Print an error briefly and exit with its code, where a document is wanted and not the full one."""
    try:
        yield
    except TaoSkillsError as error:
        if full or not formats.wants_document(as_json):
            raise
        following = command_line(options).corrected(error.problems)
        print_brief(fitted({}, code=error.exit_code, problems=error.problems, following=following))
        raise typer.Exit(error.exit_code) from None


def print_brief(answer: Mapping[str, Any]) -> None:
    """Print a masked document as JSON, or for agents as text with one fact on a line."""
    lines = agent_text.lines(answer) if formats.is_for_agents() else [shortening.document(answer)]
    with plain_output():
        for line in lines:
            typer.echo(line)


def print_full(answer: dict[str, Any]) -> None:
    """Print a whole document as JSON, or for agents as text with one fact on a line."""
    if formats.is_for_agents():
        print_brief(masked(answer))
    else:
        output.print_json(answer)


def _whole(document: Mapping[str, Any], unwritten: str) -> dict[str, Any]:
    """Return plain JSON values without secrets, which could not be recognised once they are shortened."""
    plain = json.dumps(document, default=str)
    return masked(json.loads(plain.replace(unwritten, JOB_ID) if unwritten else plain))


def _shortened(whole: Mapping[str, Any], code: int, limits: Limits) -> dict[str, Any]:
    errors = [_finding(each, limits) for each in whole["errors"][:MAX_FINDINGS]]
    findings = [_finding(each, limits) for each in whole["findings"][: MAX_FINDINGS - len(errors)]]
    left = [*whole["errors"][len(errors) :], *whole["findings"][len(findings) :]]
    facts = {name: _fact(name, value, limits) for name, value in whole["facts"].items()}
    answer = {
        "ok": code == 0,
        "code": code,
        "errors": errors,
        **facts,
        "findings": findings,
        **({"more": _counted(left, limits)} if left else {}),
        "next": _following(whole["next"], limits),
    }
    return answer | ({"note": NOTE} if left or _is_cut(answer, whole) else {})


def _fits(answer: Mapping[str, Any]) -> bool:
    return len(shortening.document(answer).encode("utf-8", "backslashreplace")) < MAX_BYTES


def _without_largest(answer: dict[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer with as few of its facts cut to a note as it takes, the largest first."""
    for name in sorted(facts, key=lambda each: shortening.size(answer[each]), reverse=True):
        if _fits(answer):
            break
        answer = answer | {name: "left out: see --full"}
    return answer


def _is_cut(answer: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    same = all(answer[name] == value for name, value in whole["facts"].items())
    texts = [
        (short, each) for name in ("errors", "findings") for short, each in zip(answer[name], whole[name], strict=False)
    ]
    return not same or any(short[key] != each[key] for short, each in texts for key in ("message", "fix", "path"))


def _finding(each: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Return a finding or a problem: overrides to paste are whole or left out."""
    is_info = each.get("severity") == "info"
    short = {
        "code": text(each["code"], limits.name),
        **({"severity": each["severity"]} if each.get("severity", "blocking") != "blocking" else {}),
        "path": text(each["path"], limits.name),
        "message": text(each["message"], limits.message // (2 if is_info else 1)),
        "fix": text(each["fix"], limits.fix),
    }
    if not limits.extras:
        return short
    for name in ("got", "expected"):
        if each.get(name) is not None:
            short[name] = any_value(each[name], limits.value)
    for name in ("fix_set", "fix_choices"):
        if each.get(name) and shortening.size(each[name]) <= limits.fix:
            short[name] = each[name]
    if each.get("evidence") and not is_info:  # an info says in its message what is known
        short["evidence"] = any_value(each["evidence"], limits.value)
    return short


def _fact(name: str, value: Any, limits: Limits) -> Any:
    if name == "changed":
        return _first_keys(value, limits)
    if name == "search":
        rest = {each: _fact(each, inner, limits) for each, inner in value.items() if each != "keys"}
        return rest | {"keys": _first_keys(value["keys"], limits)}
    if isinstance(value, Mapping):
        return {text(key, limits.name): any_value(inner, limits.name) for key, inner in value.items()}
    return any_value(value, max(limits.name, 72))  # a sha256 is always whole


def _first_keys(values: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    """Return the first keys with their values, and how many more there are; of keys that are alike when cut, one."""
    shown: dict[str, Any] = {}
    for key, value in list(values.items())[: limits.keys]:
        shown.setdefault(text(key, limits.name), any_value(value, limits.value))
    left = len(values) - len(shown)
    return shown | ({shortening.ELLIPSIS: f"{left} more keys"} if left else {})


def _counted(left: Sequence[Mapping[str, Any]], limits: Limits) -> dict[str, int]:
    counts = Counter(text(each["code"], limits.name) for each in left).most_common()
    shown, others = dict(counts[: limits.keys]), sum(count for _, count in counts[limits.keys :])
    return shown | ({"others": others} if others else {})


def _following(commands: Sequence[str], limits: Limits) -> list[str]:
    """Return the next commands; one that has no room ends in `...`, which stands for the options of this one."""
    if shortening.size(list(commands)) <= limits.following:
        return list(commands)
    return [f"{text(' '.join(each.split()[:4]), limits.name)} ..." for each in commands[:1]]


def _evidence(findings: Sequence[Finding], code: str) -> dict[str, Any] | None:
    return next((dict(found.evidence) for found in findings if found.code == code and found.severity == "info"), None)


def _estimate(sealed: Plan) -> dict[str, Any] | None:
    if sealed.study is None:
        return _evidence(sealed.findings, "estimate")
    found = sealed.study["estimate"] or {}
    return {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in found.items()}


def _search(sealed: Plan) -> dict[str, Any] | None:
    """Return what a search tries: its algorithm, trials, keys with their domains, metric and budget."""
    if sealed.study is None:
        return None
    from tao_skill_bank.automl.plan import review, study

    found = study.of_plan(sealed)
    chosen = found.options
    budget = {"trials": chosen.max_trials, "hours": chosen.max_hours, "gpu_hours": chosen.max_gpu_hours}
    return {
        "algorithm": chosen.algorithm,
        "metric": f"{found.metric.title}, {found.metric.direction}",
        "budget": {name: value for name, value in budget.items() if value is not None},
        "parallel": found.parallel,
        **({"pauses_after_epochs": list(found.setup().rungs[:-1])} if found.rungs else {}),
        "keys": {each.name: review.range_of(each) for each in found.space.dimensions},
        **({"notes": list(found.notes)} if found.notes else {}),
    }
