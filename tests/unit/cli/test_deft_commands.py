"""`deft` plans a loop, refuses what cannot be one, and says where a figure is optimistic."""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.cli import main
from tao_skill_bank.samples import vlm

CommandLine = Callable[..., tuple[int, dict[str, Any]]]
MODEL = "builtin://tiny-cosmos-reason"
SETS = (
    "--set",
    "evaluate:vision.nframes=4",
    "--set",
    "train:custom.vision.nframes=4",
    "--set",
    "embed:vision.nframes=4",
)


@pytest.fixture
def command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)

    def call(*words: object) -> tuple[int, dict[str, Any]]:
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = main._run([*map(str, words), "--json"], as_json=True)
        assert "Traceback" not in err.getvalue()
        return code, json.loads(out.getvalue())

    return call


@pytest.fixture(scope="module")
def sample_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vlm.make(tmp_path_factory.mktemp("samples") / "vlm", train=12, val=6, test=6)


@pytest.fixture
def data(sample_data: Path) -> tuple[str, ...]:
    sets = {"kpi": "val", "test": "test", "train": "train", "pool": "train"}
    return tuple(word for role, split in sets.items() for word in (f"--{role}", str(sample_data / split)))


@pytest.mark.slow
def test_a_plan_seals_what_is_known_and_says_what_comes_later(
    command_line: CommandLine, data: tuple[str, ...], tmp_path: Path
) -> None:
    out = tmp_path / "sealed.json"
    words = ("deft", "plan", *data, "--model", MODEL, *SETS, "--folder", tmp_path / "run", "--out", out)
    code, document = command_line(*words)
    assert code == 0, document["errors"]
    states = {step["step"]: step["state"] for step in document["steps"]}
    assert states["baseline"] == states["kpi embeddings"] == states["base on test"] == "planned"
    assert states["training"] == "later"
    assert "figure_optimistic" not in [finding["code"] for finding in document["findings"]]
    assert document["next"] == [f"tao-skills workflow run --plan {out}"]
    assert json.loads(out.read_text())["inputs"]["training"] == {"custom.vision.nframes": 4}
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_without_a_test_set_the_plan_says_that_the_figure_is_optimistic(
    command_line: CommandLine, sample_data: Path, tmp_path: Path
) -> None:
    sets = ("--kpi", sample_data / "val", "--pool", sample_data / "train", "--model", MODEL, *SETS)
    code, document = command_line("deft", "plan", *sets, "--folder", tmp_path / "run")
    assert code == 0, document["errors"]
    assert "figure_optimistic" in [finding["code"] for finding in document["findings"]]


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("run",), 2, "model_missing"),
        (("run", "--model", MODEL), 2, "pool_missing"),
        (("run", "--model", MODEL, "--pool", "b"), 2, "input_missing"),
        (("run", "--model", MODEL, "--set", "train.epoch=3"), 2, "invalid_option"),
        (("run", "--model", MODEL, "--set", "quantize:a=3"), 2, "unknown_action"),
        (("run", "--model", MODEL, "--kpi", "a", "--pool", "b", "--input", "iteration=3"), 2, "input_unknown"),
        (("run", "--model", MODEL, "--kpi", "a", "--pool", "b", "--input", "iterations=two"), 2, "input_invalid"),
        (("run", "--model", MODEL, "--kpi", "a", "--pool", "b", "--platform", "[slurm]"), 2, "input_invalid"),
        (("plan", "--spec", "no.yaml"), 2, ""),
        (("status", "nothing"), 5, "unknown_workflow"),
        (("report",), 5, "unknown_run"),
    ],
)
def test_what_cannot_run_is_one_clear_error_and_leaves_nothing(
    command_line: CommandLine,
    words: tuple[str, ...],
    code: int,
    error: str,
    tmp_path: Path,
) -> None:
    found, document = command_line("deft", *words)
    assert found == code, document
    if error:
        assert error in [each["code"] for each in document["errors"]]
    assert all(each["fix"] for each in document["errors"])
    assert not list(tmp_path.glob("results"))
