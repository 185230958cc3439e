"""Whatever process is killed at whatever event: states stay true, nothing is lost or done twice, and there is a way on.

Without `--kills` a few kills of cheap stages; `make kill` makes 200 over all of them.
"""

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("torch")

import small_training
from kills import Kill, Stage, World, environment_of, kills_of, survive

from tao_skill_bank.runs import checkpoint_folders
from tao_skill_bank.runs.run_directory import json_lines
from tao_skill_bank.weights.model_folders import is_complete

EPOCHS = 3
MODEL = "builtin://tiny-cosmos-reason"
LAUNCH = str(Path(small_training.__file__).with_name("launch_small.py"))
NEVER = Kill(0)
TRAIN = ("train", "--set", f"train.epoch={EPOCHS}", "--automl-policy", "off", "--results-dir", "run")


def trained(folder: Path) -> None:
    """Require a checkpoint of every epoch, and nothing half-written next to them."""
    assert [path.name for path in checkpoint_folders.all_in(folder / "checkpoints")] == [
        "epoch_1",
        "epoch_2",
        "epoch_3",
    ]
    measured(folder)


def measured(folder: Path) -> None:
    """Require every epoch once, apart from the one that was killed between its metric and its checkpoint."""
    epochs = [int(line["epoch"]) for line in json_lines(folder / "metrics.jsonl")]
    assert set(epochs) == {1, 2, 3}
    assert len(epochs) <= EPOCHS + 1
    assert not list((folder / "checkpoints").glob(".*"))


def newest(world: World) -> dict:
    return world.jobs()[0]


def train(world: World) -> None:
    assert world.call("run", "toy", *TRAIN, "--json").returncode == 0


def evaluated(world: World) -> None:
    folder = folder_of("evaluate", world)
    assert json.loads((folder / "metrics_summary.json").read_text())["metrics"]["accuracy"] == pytest.approx(0.75)


def planned(world: World) -> None:
    plan = json.loads((world.folder / "plan.json").read_text())
    assert world.call("run", "--plan", "plan.json", "--json").returncode == 0
    assert newest(world)["job_id"] == plan["job"]["id"]
    trained(world.folder / "run")


def reported(world: World) -> None:
    assert "</html>" in (world.folder / "report.html").read_text()


def created(world: World) -> None:
    """Require the model, whole, and nothing next to it."""
    models = world.folder / "state" / "models" / "builtin"
    assert [path.name for path in models.iterdir()] == [MODEL.removeprefix("builtin://")]
    assert is_complete(models / MODEL.removeprefix("builtin://"))


def trained_on_ranks(world: World) -> None:
    """Require the checkpoints and the losses of a training that nobody killed."""
    folder = folder_of("ranks", world)
    assert small_training.names(folder) == {f"epoch_{epoch}" for epoch in range(1, 5)}
    assert len(small_training.losses(folder)) == 4 * small_training.STEPS_PER_EPOCH
    taken = [line["step"] for line in json_lines(folder / "losses.jsonl")]
    assert max(taken.count(step) for step in taken) <= 2  # at most once more, after the last checkpoint


def searched(world: World) -> None:
    job = STAGES["search"].job(world)
    assert job["state"] == "COMPLETE"
    search = Path(job["results_dir"])
    status = json.loads(world.call("automl", "status", job["job_id"], "--json").stdout)
    assert sum(trial["state"] == "COMPLETE" for trial in status["trials"]) == len(status["trials"]) == 2
    for number in range(2):
        measured(search / "trials" / f"trial_{number:04d}")  # whose checkpoints may be removed when a search has ended


def tuned(world: World) -> tuple[str, ...]:
    words = ("run", "toy", "train", "--set", f"train.epoch={EPOCHS}", "--say", "tune it", "--automl", "max_trials=2")
    return (*words, "--results-dir", "search", "--json")


def _training(world: World) -> str:
    return next(job["job_id"] for job in world.jobs() if job["action"] == "train")


def _evaluate(world: World) -> tuple[str, ...]:
    return ("run", "toy", "evaluate", "--parent", _training(world), "--results-dir", "run/evaluate", "--json")


STAGES = {
    stage.name: stage
    for stage in (
        Stage("plan", lambda _: ("plan", "toy", *TRAIN, "--out", "plan.json"), planned),
        Stage(
            "run",
            lambda _: ("run", "toy", *TRAIN, "--json"),
            lambda world: trained(folder_of("run", world)),
            folder="run",
        ),
        Stage("evaluate", _evaluate, evaluated, train, folder="run/evaluate"),
        Stage("report", lambda world: ("report", _training(world), "--out", "report.html"), reported, train),
        Stage("create", lambda _: ("models", "create", MODEL), created),
        Stage("ranks", lambda _: (LAUNCH, "ranks"), trained_on_ranks, folder="ranks"),
        Stage("search", tuned, searched, folder="search"),
    )
}


def folder_of(name: str, world: World) -> Path:
    """Return the run directory in which a stage's newest job ran."""
    return Path(STAGES[name].job(world)["results_dir"])


@pytest.fixture
def world(third_skill, tmp_path) -> World:
    (tmp_path / "world").mkdir()
    environment = environment_of(tmp_path / "world", str(third_skill), os.environ["PYTHONPATH"])
    return World(tmp_path / "world", environment)


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        wanted = metafunc.config.getoption("--kills")
        names = sorted(STAGES)
        cases = [(names[seed % len(names)], seed) for seed in range(wanted)] if wanted else [("run", 1), ("plan", 2)]
        metafunc.parametrize(("name", "seed"), cases)


@pytest.fixture(scope="session")
def counted() -> dict[str, int]:
    """Return how many events each stage has, as far as it was counted."""
    return {}


@pytest.mark.slow
def test_a_killed_stage_keeps_its_states_true_and_leads_on(world, name, seed, counted, third_skill, tmp_path):
    stage = STAGES[name]
    if name not in counted:
        (tmp_path / "counting").mkdir()
        free = World(
            tmp_path / "counting", environment_of(tmp_path / "counting", str(third_skill), os.environ["PYTHONPATH"])
        )
        stage.prepare(free)
        assert free.killed(stage.words(free), NEVER).returncode == 0
        counted[name] = free.events
        free.settle()
        stage.check(free)
    survive(world, stage, kills_of(name, seed, counted[name]))
