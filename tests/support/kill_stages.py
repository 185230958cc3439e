"""The stages of tests/e2e/test_kills.py: a command that is killed, its goal, and the work that must not be redone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_training
from kill_supplies import OBJECTS, REASON
from kills import Stage, World

from tao_skill_bank.runs import checkpoint_folders
from tao_skill_bank.runs.run_directory import json_lines, last_json_line
from tao_skill_bank.weights.model_folders import is_complete

EPOCHS = 3
LAUNCH = str(Path(small_training.__file__).with_name("launch_small.py"))
TRAIN = ("train", "--set", f"train.epoch={EPOCHS}", "--automl-policy", "off", "--results-dir", "run")
REASON_KEYS = {
    "policy.model_name_or_path": REASON,
    "policy.lora": {"r": 4},
    "train.epoch": EPOCHS,
    "train.train_batch_per_replica": 2,
    "train.train_policy.mini_batch": 2,
    "train.train_policy.dataloader_num_workers": 0,
    "train.param_dtype": "float32",
    "custom.vision.nframes": 4,
    "validation.enable": False,
}
GENERATE_KEYS = {
    "height": 48,
    "width": 80,
    "num_frames": 5,
    "num_steps": 2,
    "mixed_precision": "no",
    "safety_checker": "off",
}


def options(values: dict[str, Any]) -> list[str]:
    return [word for path, value in values.items() for word in ("--set", f"{path}={json.dumps(value)}")]


def train(world: World) -> None:
    assert world.call("run", "toy", *TRAIN, "--json").returncode == 0


def trained(folder: Path) -> None:
    """Require a checkpoint of every epoch, and nothing half-written next to them."""
    names = [path.name for path in checkpoint_folders.all_in(folder / "checkpoints")]
    assert names == ["epoch_1", "epoch_2", "epoch_3"]
    measured(folder)


def measured(folder: Path) -> None:
    """Require every epoch once, apart from the one that was killed between its metric and its checkpoint."""
    epochs = [int(line["epoch"]) for line in json_lines(folder / "metrics.jsonl")]
    assert set(epochs) == {1, 2, 3}
    assert len(epochs) <= EPOCHS + 1
    assert not list((folder / "checkpoints").glob(".*"))


def planned(world: World) -> None:
    plan = json.loads((world.folder / "plan.json").read_text())
    assert world.call("run", "--plan", "plan.json", "--json").returncode == 0
    assert world.jobs()[0]["job_id"] == plan["job"]["id"]
    trained(world.folder / "run")


def evaluated(world: World) -> None:
    folder = folder_of("evaluate", world)
    assert json.loads((folder / "metrics_summary.json").read_text())["metrics"]["accuracy"] == pytest.approx(0.75)


def staged(world: World) -> None:
    """Require every object with its bytes, and nothing unfinished next to them."""
    found = {f"data/{path.name}": path.read_bytes() for path in (world.folder / "staged").iterdir()}
    assert found == OBJECTS
    assert_finished(world.folder)
    assert_finished(world.folder / "state" / "cache" / "staged")


def assert_finished(folder: Path) -> None:
    names = [path.name for path in folder.rglob("*") if path.suffix in (".tmp", ".partial")]
    assert names == []


def reported(world: World) -> None:
    assert "</html>" in (world.folder / "report.html").read_text()


def created(world: World) -> None:
    """Require the model, whole, and nothing next to it."""
    models = world.folder / "state" / "models" / "builtin"
    assert [path.name for path in models.iterdir()] == [REASON.removeprefix("builtin://")]
    assert is_complete(models / REASON.removeprefix("builtin://"))


def trained_on_ranks(world: World) -> None:
    """Require the checkpoints and the losses of a training that nobody killed."""
    folder = folder_of("ranks", world)
    assert small_training.names(folder) == {f"epoch_{epoch}" for epoch in range(1, 5)}
    assert len(small_training.losses(folder)) == 4 * small_training.STEPS_PER_EPOCH
    taken = [line["step"] for line in json_lines(folder / "losses.jsonl")]
    assert max(taken.count(step) for step in taken) <= 2  # at most once more, after the last checkpoint


def saved(world: World, stage: str) -> None:
    """Require the checkpoints and exported adapters of every epoch, each step's metrics at most once more."""
    folder = folder_of(stage, world)
    epochs = ["epoch_1", "epoch_2", "epoch_3"]
    for part in ("checkpoints", "safetensors"):
        assert sorted(path.name for path in (folder / part).iterdir()) == epochs
    assert [path.name for path in checkpoint_folders.all_in(folder / "checkpoints")] == epochs
    assert all(is_adapter(folder / "safetensors" / epoch) for epoch in epochs)
    steps = [line["step"] for line in json_lines(folder / "metrics.jsonl") if "train/loss_avg" in line]
    assert set(steps) == set(range(1, 2 * EPOCHS + 1))
    assert len(steps) <= 2 * EPOCHS + 2  # an epoch whose checkpoint was killed is trained again


def fetched(world: World) -> None:
    saved(world, "fetch")
    assert_finished(folder_of("fetch", world) / "inputs")
    assert_finished(world.folder / "state" / "cache" / "staged")


def is_adapter(folder: Path) -> bool:
    return {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in folder.iterdir()}


def generated(world: World) -> None:
    """Require every video with its record, whole, and the results that name them."""
    folder = folder_of("generate", world)
    entries = json.loads((folder / "results.json").read_text())
    videos = {str(path.relative_to(folder)) for path in folder.rglob("*.mp4")}
    assert {entry["output"] for entry in entries} == videos
    assert len(videos) == 3
    files = {path.name for path in (folder / "videos" / "base").iterdir()}
    assert files == {Path(video).with_suffix(suffix).name for video in videos for suffix in (".mp4", ".json")}
    assert "</html>" in (folder / "gallery.html").read_text()


def searched(world: World, stage: str) -> None:
    job = STAGES[stage].job(world)
    assert job["state"] == "COMPLETE"
    search = Path(job["results_dir"])
    status = json.loads(world.call("automl", "status", job["job_id"], "--json").stdout)
    assert sum(trial["state"] == "COMPLETE" for trial in status["trials"]) == len(status["trials"]) == 2
    for number in range(2):
        measured(search / "trials" / f"trial_{number:04d}")  # whose checkpoints may be removed when a search has ended


def folder_of(name: str, world: World) -> Path:
    """Return the run directory in which a stage's newest job ran."""
    return Path(STAGES[name].job(world)["results_dir"])


def whole_checkpoints(folder: Path) -> dict[str, Any]:
    """Return the checkpoints of whole epochs; one of an interruption is removed when a later epoch is saved."""
    epochs = (folder / "checkpoints").glob("epoch_*")
    return {path.name: path.stat().st_ino for path in epochs if checkpoint_folders.is_checkpoint_name(path.name)}


def finished_videos(folder: Path) -> dict[str, Any]:
    """Return the videos that have a record, with their files."""
    records = [path for path in folder.rglob("videos/*/*.json") if path.with_suffix(".mp4").is_file()]
    return {path.name: [_identity(path), _identity(path.with_suffix(".mp4"))] for path in records}


def finished_trials(folder: Path) -> dict[str, Any]:
    trials = [
        path for path in folder.glob("trials/*") if last_json_line(path / "status.jsonl").get("state") == "SUCCESS"
    ]
    return {path.name: (path / "metrics.jsonl").read_text() for path in trials}


def whole_blobs(world: World) -> dict[str, Any]:
    blobs = (world.folder / "state" / "cache" / "staged" / "blobs").glob("*/*")
    return {path.name: _identity(path) for path in blobs if path.suffix != ".partial"}


def _identity(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_mtime_ns


def _below(found: Callable[[Path], dict[str, Any]], name: str) -> Callable[[World], dict[str, Any]]:
    """Return what is finished in the folder of a stage's newest job."""
    return lambda world: found(folder_of(name, world)) if STAGES[name].job(world) else {}


def _training(world: World) -> str:
    return next(job["job_id"] for job in world.jobs() if job["action"] == "train")


def _evaluate(world: World) -> tuple[str, ...]:
    return ("run", "toy", "evaluate", "--parent", _training(world), "--results-dir", "run/evaluate", "--json")


def _tune(folder: str) -> Callable[[World], tuple[str, ...]]:
    words = ("run", "toy", "train", "--set", f"train.epoch={EPOCHS}", "--say", "tune it", "--automl", "max_trials=2")
    return lambda _: (*words, "--results-dir", folder, "--json")


def _generate(world: World) -> tuple[str, ...]:
    keys = {**GENERATE_KEYS, "model.pretrained_model_name_or_path": str(world.supplies.pipeline)}
    words = ("run", "tao-finetune-cosmos-predict", "generate", "--eval", str(world.supplies.prompts), *options(keys))
    return (*words, "--option", "device=cpu", "--results-dir", "generate", "--json")


def _train_reason(folder: str, data: str = "") -> Callable[[World], tuple[str, ...]]:
    end = ("--automl-policy", "off", "--option", "device=cpu", "--results-dir", folder, "--json")
    skill = ("run", "tao-finetune-cosmos-reason", "train")
    return lambda world: (*skill, "--train", data or str(world.supplies.clips), *options(REASON_KEYS), *end)


def _link_models(world: World) -> None:
    models = world.folder / "state" / "models"
    models.mkdir(parents=True)
    (models / "builtin").symlink_to(world.supplies.models)


def _search(name: str, **more: Any) -> Stage:
    done = _below(finished_trials, name)
    return Stage(name, _tune(name), lambda world: searched(world, name), folder=name, finished=done, **more)


def _reason(name: str, **more: Any) -> Stage:
    """Return a real training whose trainer is killed."""
    more |= {"victim": r"cosmos_reason\.train", "is_cheap": False, "finished": _below(whole_checkpoints, name)}
    return Stage(name, _train_reason(name), lambda world: saved(world, name), _link_models, folder=name, **more)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("plan", lambda _: ("plan", "toy", *TRAIN, "--out", "plan.json"), planned, events=3),
        Stage(
            "run",
            lambda _: ("run", "toy", *TRAIN, "--json"),
            lambda world: trained(folder_of("run", world)),
            folder="run",
            finished=_below(whole_checkpoints, "run"),
            events=120,
        ),
        Stage("evaluate", _evaluate, evaluated, train, folder="run/evaluate", events=100),
        Stage("report", lambda world: ("report", _training(world), "--out", "report.html"), reported, train, events=30),
        Stage("create", lambda _: ("models", "create", REASON), created, is_cheap=False),
        Stage(
            "ranks",
            lambda _: (LAUNCH, "ranks"),
            trained_on_ranks,
            folder="ranks",
            finished=_below(whole_checkpoints, "ranks"),
            is_cheap=False,
        ),
        _search("search", is_cheap=False),
        _search("controller", is_cheap=False, victim=r"automl\.(run\.)?controller"),
        _search("trial", is_cheap=False, victim=r"toy\.train", within="/trials/"),
        Stage(
            "stage",
            lambda _: ("data", "stage", "s3://lab/data", "staged", "--json"),
            staged,
            finished=whole_blobs,
            reads_store=True,
            events=30,
        ),
        Stage(
            "fetch",
            _train_reason("fetch", "s3://lab/clips"),
            fetched,
            _link_models,
            folder="fetch",
            finished=whole_blobs,
            is_cheap=False,
            reads_store=True,
            within="/inputs|/staged/",
        ),
        Stage(
            "generate",
            _generate,
            generated,
            folder="generate",
            finished=_below(finished_videos, "generate"),
            is_cheap=False,
            within="/generate/",
        ),
        _reason("save", within="/(checkpoints|safetensors|best)/"),
        _reason("end", within="/end/status", after=f"end/checkpoints/epoch_{EPOCHS}"),
    )
}
