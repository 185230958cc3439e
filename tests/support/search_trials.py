"""Searches of the third skill whose trials are written into a real study, without a job: for what is read from one."""

from tao_skill_bank.automl.plan import study
from tao_skill_bank.automl.plan.history import TrialState
from tao_skill_bank.automl.plan.storage import Point, Storage, sqlite_url
from tao_skill_bank.automl.run.trials import TrialJobs
from tao_skill_bank.contracts import Request
from tao_skill_bank.planning import dispatch


def make_search(run, overrides=None, **automl) -> TrialJobs:
    """Return a planned search with an empty study."""
    request = Request("toy", "train", overrides=overrides or {}, automl=automl, results_dir=str(run))
    plan = dispatch.plan(request)
    sealed = study.of_plan(plan)
    run.mkdir(parents=True)
    with_cost = "cost" in sealed.options.objectives
    storage = Storage(
        sqlite_url(run),
        sealed.name,
        maximize=sealed.metric.direction == "maximize",
        space=sealed.space,
        with_cost=with_cost,
    )
    return TrialJobs(plan, sealed, storage)


def add_recipe(search, *scores, state=TrialState.COMPLETE):
    """Add the recipe's trial with a score (lower is better) after each epoch."""
    return _add(search, Point(search.study.space.coordinates(search.plan.job.spec), {}, study.RECIPE), scores, state)


def add_trial(search, rate, rank, *scores, state=TrialState.COMPLETE, why="", gpu_hours=1.0, **point):
    """Add a trial at a learning rate and the exponent of a rank."""
    coordinates = {"train.optm_lr": rate, "lora.r": rank, "train.optm_decay_type": "cosine", "lora.lora_alpha": 0}
    values = search.study.space.values(coordinates)
    return _add(search, Point(coordinates, values, "bayesian", **point), scores, state, why, gpu_hours)


def _add(search, point, scores, state, why="", gpu_hours=1.0):
    storage = search.storage
    number = storage.create(point)
    for epoch, score in enumerate(scores, 1):
        storage.score(number, epoch, score)
    storage.spent(number, seconds=3600 * gpu_hours, gpu_hours=gpu_hours)
    if state is TrialState.PAUSED:
        storage.pause(number)
    elif state.is_final:
        storage.finish(number, state, why)
    return number
