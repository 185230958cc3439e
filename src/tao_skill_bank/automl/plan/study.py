"""What a search will do, decided before anything starts and sealed into the plan: the launch review."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Any

from tao_skill_bank.automl.plan import algorithms, effective_batch, estimates, metric_check, option_reader, space
from tao_skill_bank.automl.plan.algorithms import Setup
from tao_skill_bank.automl.plan.estimates import Estimate
from tao_skill_bank.automl.plan.history import Start, Trial, TrialState
from tao_skill_bank.automl.plan.option_reader import MISSING_DIRECTION
from tao_skill_bank.automl.plan.options import AutomlOptions, Metric
from tao_skill_bank.automl.plan.space import Space
from tao_skill_bank.automl.plan.storage import sqlite_url
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.bank.catalog import Skill
from tao_skill_bank.bank.skill_info import AutomlKeys
from tao_skill_bank.contracts import DatasetPaths, Finding, Job, Plan, Request, contract, from_json, to_json
from tao_skill_bank.core import nested, plain_text, settings
from tao_skill_bank.errors import BlockedError, Problem, RequestError
from tao_skill_bank.spec.datasets import absolute

RECIPE = "recipe"
SHOWN_TRIALS = 8  # of the first batch
MOST_TRIALS = 10_000


@contract
class Study:
    """A search as it was reviewed.

    Attributes:
        name: of the study in its storage.
        rungs: whether trials pause and are promoted; then all have `max_epochs` and train at least `min_epochs`.
        records: training records after the split, None where they were not counted.
        ranks: data-parallel ranks of a trial.
        devices: GPUs of this machine for each trial that runs at once; empty where the platform decides.
        first: concrete values of the first trials, the recipe's first.
        descriptions: what the schema says of the searched parameters, for a language model; empty without one.

    """

    name: str
    options: AutomlOptions
    space: Space
    keys: AutomlKeys
    metric: Metric
    rungs: bool
    min_epochs: int
    max_epochs: int
    records: int | None = None
    ranks: int = 1
    parallel: int = 1
    devices: tuple[str, ...] = ()
    first: tuple[dict[str, Any], ...] = ()
    estimate: Estimate | None = None
    notes: tuple[str, ...] = ()
    descriptions: dict[str, str] = field(default_factory=dict)

    def setup(self) -> Setup:
        """Return what the algorithm is built from."""
        return Setup(
            space=self.space,
            seed=self.options.seed,
            max_trials=self.options.max_trials,
            max_epochs=self.max_epochs,
            min_epochs=self.min_epochs,
            eta=self.options.eta,
            parallel=self.parallel,
            objectives=self.options.objectives,
            options=algorithm_options(self),
        )

    def storage_url(self, run_dir: Path) -> str:
        return self.options.storage or sqlite_url(run_dir)

    def last_epoch(self, values: Mapping[str, Any]) -> int:
        """Return the epochs of a trial that runs to its end."""
        return int(values.get(self.keys.epochs, self.max_epochs))

    def point(self, coordinates: Mapping[str, Any], spec: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Return what the request's own spec gets at a point, and what was changed so that every epoch has a step."""
        values = self.space.values(coordinates)
        if self.records is None:
            return values, ""
        return effective_batch.capped(values, spec, self.keys, self.ranks, self.records)


def algorithm_options(study: Study) -> dict[str, Any]:
    """Return the options of single algorithms, by their own names."""
    chosen = study.options
    if chosen.endpoint is None:
        return {}
    values = {
        "endpoint": to_json(chosen.endpoint),
        "fallback": chosen.fallback,
        "metric": {"name": study.metric.name, "direction": study.metric.direction},
        "descriptions": study.descriptions,
        "max_gpu_hours": chosen.max_gpu_hours,
        "noise": chosen.noise,
    }
    return {name: value for name, value in values.items() if value is not None}


def of_plan(plan: Plan) -> Study:
    """Return the study of a plan. Raises RequestError when it holds none."""
    if plan.study is None:
        message = f"Job {plan.job.id} is a plain training, not a search."
        raise RequestError.of("no_search", message, "Name a job whose route is AutoML: tao-skills jobs", path="job")
    return from_json(Study, plan.study, "the plan's study")


def prepare(skill: Skill, request: Request, job: Job, given: frozenset[str], findings: Sequence[Finding]) -> Study:
    """Return the study of a train request.

    Raises:
        RequestError: what `automl` says contradicts the schema, the skill or itself; all of it together.
        BlockedError: the algorithm cannot search this.

    """
    chosen = _options(skill, request, job)
    keys = skill.info.automl
    if keys is None:
        message = f"{skill.name} does not say how a search steers its trainings."
        raise RequestError.of("automl_keys_missing", message, "Add an `automl` block to its skill_info.yaml.")
    metric = option_reader.metric_of(chosen, skill.info)
    metric_check.require(metric, skill, request, job)
    info = algorithms.INFO[chosen.algorithm]
    if info.needs_rungs and not (keys.stop and keys.resume):
        message = f"{chosen.algorithm} pauses trainings and resumes some of them; {skill.name} cannot pause one."
        raise RequestError.of("cannot_pause", message, "Use bayesian, tpe or random.", path="automl.algorithm")
    if job.workload.max_steps is not None:
        raise _counted_in_steps(keys, job.workload.max_steps)
    epochs = int(nested.get(job.spec, keys.epochs))
    max_epochs = chosen.max_epochs or epochs
    if problems := [*_size_problems(chosen), *_epoch_problems(chosen, keys, max_epochs, rungs=info.needs_rungs)]:
        raise RequestError(problems)
    if info.needs_rungs:
        chosen = replace(chosen, exclude=tuple({*chosen.exclude, keys.epochs}))
    searched = space.build(skill, job.spec, given, chosen)
    counted = _counted(findings)
    study = Study(
        name=job.id,
        options=chosen,
        space=searched,
        keys=keys,
        metric=metric,
        rungs=info.needs_rungs,
        min_epochs=chosen.min_epochs or max(1, max_epochs // chosen.eta**2),
        max_epochs=max_epochs,
        records=counted.get("records"),
        ranks=job.workload.data_parallel_ranks,
        parallel=min(chosen.parallel, chosen.max_trials),
        notes=(
            *searched.notes,
            *_notes(info.needs_rungs, keys, max_epochs),
            *_base_notes(skill, request),
            *_disk_notes(chosen, findings),
        ),
        descriptions=_descriptions(skill, searched) if chosen.endpoint else {},
    )
    study = _with_devices(study, job)
    return replace(study, first=tuple(first_batch(study, job)), estimate=estimates.of(study, job, request, findings))


def _options(skill: Skill, request: Request, job: Job) -> AutomlOptions:
    """Return the options of a request. Raises RequestError: of a metric that does not exist, no direction is asked."""
    unknown = metric_check.unknown(request.automl.get("metric"), skill, job)
    try:
        chosen = option_reader.parse(request.automl, skill.info)
    except RequestError as error:
        others = [problem for problem in error.problems if not (unknown and problem.code == MISSING_DIRECTION)]
        raise RequestError([*unknown, *others]) from None
    if unknown:
        raise RequestError(unknown)
    return chosen


def _counted_in_steps(keys: AutomlKeys, max_steps: int) -> RequestError:
    message = f"{keys.steps} is {max_steps}, and a search gives its trials epochs, pauses and compares them by epochs."
    fix = f"For one training of {max_steps} steps: --automl-policy off. For a search by epochs: --set {keys.steps}=null"
    choices = ({str(keys.steps): None},)
    return RequestError([Problem("steps_in_search", message, fix, str(keys.steps), max_steps, fix_choices=choices)])


def _size_problems(chosen: AutomlOptions) -> Iterator[Problem]:
    if chosen.max_trials > MOST_TRIALS:
        message = f"automl.max_trials is {chosen.max_trials}; a search takes at most {MOST_TRIALS}."
        yield Problem("too_large", message, f"Set automl.max_trials to at most {MOST_TRIALS}.", "automl.max_trials")


def _epoch_problems(chosen: AutomlOptions, keys: AutomlKeys, max_epochs: int, *, rungs: bool) -> Iterator[Problem]:
    """Yield options of epochs that have no effect on the algorithm, or contradict it."""
    if not rungs:
        for name in ("min_epochs", "max_epochs"):
            if getattr(chosen, name) is not None:
                message = f"automl.{name} has no effect on {chosen.algorithm}: its trials never pause."
                fix = f"Omit it, set {keys.epochs}, or use an algorithm with rungs, such as asha."
                yield Problem("unused_option", message, fix, f"automl.{name}")
        return
    if (chosen.min_epochs or 0) > max_epochs:
        message = f"automl.min_epochs is {chosen.min_epochs}, and a trial has {max_epochs} epochs in all."
        fix = f"Set automl.min_epochs to at most {max_epochs}, or raise automl.max_epochs."
        yield Problem("epochs_reversed", message, fix, "automl.min_epochs")
    for name in ("ranges", "add", "parameters"):
        if keys.epochs in (getattr(chosen, name) or ()):
            message = f"automl.{name} names {keys.epochs}, which {chosen.algorithm} decides: it pauses trials."
            yield Problem("contradiction", message, "Set automl.max_epochs instead.", f"automl.{name}")


def located(skill: Skill, request: Request, job: Job, given: frozenset[str]) -> Request:
    """Return the request with absolute paths: its trials are planned from another folder, perhaps days later."""
    keys = (*skill.info.input_keys(request.action), *skill.action(request.action).inputs.listed)
    placed = {key: nested.get(job.spec, key) for key in keys if key in given}
    datasets: dict[str, str | DatasetPaths] = {
        role: absolute(data)
        if isinstance(data, str)
        else DatasetPaths(absolute(data.annotation_path), absolute(data.media_path))
        for role, data in request.datasets.items()
    }
    return replace(request, datasets=datasets, overrides={**request.overrides, **placed})


def fingerprint(study: Study) -> str:
    """Return the identity of this search: a hash of everything that was reviewed and decides what is tried."""
    document = to_json(study)
    del document["options"]["keep_trials"], document["options"]["repeats"]  # studies of earlier releases have none,
    del document["keys"]["seed"]  # and these decide nothing of what is tried
    text = json.dumps(document, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def first_batch(study: Study, job: Job) -> list[dict[str, Any]]:
    """Return the values of the trials that start at once: the recipe's, and the algorithm's first ones."""
    recipe = {dimension.name: nested.get(job.spec, dimension.name) for dimension in study.space.dimensions}
    trials = [Trial(0, study.space.coordinates(job.spec), TrialState.RUNNING, until=first_stop(study), origin=RECIPE)]
    batch = [recipe]
    algorithm = algorithms.build(study.options.algorithm, study.setup())
    if study.options.endpoint is not None:
        return batch  # asking costs money, so only the search itself does
    while len(trials) < min(study.parallel, SHOWN_TRIALS):
        decision = algorithm.decide(trials)
        if not isinstance(decision, Start):
            break
        trials.append(
            Trial(len(trials), decision.coordinates, TrialState.RUNNING, until=decision.until, origin=decision.origin)
        )
        batch.append(study.point(decision.coordinates, job.spec)[0])
    return batch


def first_stop(study: Study) -> int | None:
    """Return the epoch at which the recipe's trial pauses first; None where trials run to their end."""
    return algorithms.recipe_until(study.options.algorithm, study.setup())


def _counted(findings: Sequence[Finding]) -> dict[str, Any]:
    return next((found.evidence for found in findings if found.code == "steps"), {})


def unscored_base(skill: Skill, action: str) -> str:
    """Return why the model that a training starts from cannot be scored before a search; empty where it can."""
    evaluation = skill.info.automl.evaluation if skill.info.automl else None
    if evaluation is None:
        return ""
    if not evaluation.scores_base:
        return f"{skill.name} says that {evaluation.action} cannot score a model before it is trained"
    if not (skill.action(action).inputs.models and skill.action(evaluation.action).inputs.models):
        return f"a training of {skill.name} starts from no checkpoint that {evaluation.action} could read"
    return ""


def _base_notes(skill: Skill, request: Request) -> Iterator[str]:
    if why := unscored_base(skill, request.action):
        yield f"The base model is not scored before the search: {why}. Trials are compared with the recipe's."


def _notes(rungs: bool, keys: AutomlKeys, max_epochs: int) -> tuple[str, ...]:
    return (
        (f"{keys.epochs} is {max_epochs} for every trial: the algorithm decides which trials reach it.",)
        if rungs
        else ()
    )


def _disk_notes(chosen: AutomlOptions, findings: Sequence[Finding]) -> Iterator[str]:
    """Yield that the checkpoints of all trials together do not fit: each keeps its own."""
    evidence = next((found.evidence for found in findings if found.code == "disk"), None)
    if evidence and evidence["checkpoints"] and evidence["needed_bytes"] * chosen.max_trials > evidence["free_bytes"]:
        whole, free = (round(number / 2**30, 1) for number in (evidence["needed_bytes"], evidence["free_bytes"]))
        yield (
            f"Until the search ends, every trial keeps its checkpoints, at most {whole} GiB each; {free} GiB are free, "
            f"which {chosen.max_trials} trials may exceed: free space, keep fewer of them, or lower automl.max_trials."
        )


def _descriptions(skill: Skill, searched: Space) -> dict[str, str]:
    leaves = {each.name: schemas.at(skill.schema(space.ACTION), each.name) or {} for each in searched.dimensions}
    return {name: leaf["description"] for name, leaf in leaves.items() if "description" in leaf}


def _with_devices(study: Study, job: Job) -> Study:
    """Give every trial that runs at once GPUs of its own, where this machine's are used."""
    if job.platform.name != "local" or job.resources.device != "cuda":
        return study
    from tao_skill_bank.preflight.machine import hardware

    try:
        gpus = hardware.visible(hardware.list_gpus(), settings.visible_gpus())
    except (ImportError, hardware.NoDriverError):
        return study  # preflight has reported it
    need = job.resources.world_size
    slots = len(gpus) // need
    if slots < study.parallel:
        of_each = plain_text.counted(need, "GPU")
        message = f"automl.parallel is {study.parallel}, with {of_each} a trial; this machine has {len(gpus)}."
        fix = f"Set automl.parallel={max(1, slots)}."
        raise BlockedError.of("too_few_gpus_at_once", message, fix, path="automl.parallel")
    devices = [",".join(str(gpu.index) for gpu in gpus[slot * need : (slot + 1) * need]) for slot in range(slots)]
    return replace(study, devices=tuple(devices[: study.parallel]))
