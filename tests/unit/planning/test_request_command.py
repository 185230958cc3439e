"""A request as a command line: the command that is named has to say the same request."""

import json
import shlex
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from tao_skill_bank.cli.request_options import Options, takes_request, to_request
from tao_skill_bank.contracts import DatasetPaths, PlatformRequest, Request, to_json
from tao_skill_bank.planning import request_command

REQUESTS = {
    "bare": Request("tao-finetune-toy", "train"),
    "quoted": Request("toy", "train", prompt='it\'s "mine"\n$HOME `x` ; rm -rf', results_dir="/runs/a b's"),
    "values": Request(
        "toy",
        "train",
        overrides={"a.b": 1e-05, "c": None, "d": {"e": [1, "yes", "1:30", "~"]}, "f": "été", "g": -0.5, "h": "x=y: #z"},
        datasets={"train": "/data/a b", "eval": "s3://lab/val", "calibration": "-odd"},
    ),
    "platform": Request(
        "toy",
        "train",
        automl_policy="off",
        automl={"max_trials": 2, "parameters": ["lr"]},
        platform=PlatformRequest("slurm", gpus=8, nodes=2, options={"constraint": "gold|silver", "requeue": False}),
        parent_job_id="toy-train-0123456789ab",
        checkpoint="epoch_4",
        image="lab/image:1",
    ),
}


def request_of(words: list[str]) -> Request:
    """Return the request that `tao-skills plan` takes from its words."""
    found: list[Request] = []
    app = typer.Typer()

    @app.command()
    @takes_request
    def plan(options: Options, out: Annotated[Path | None, typer.Option()] = None) -> None:
        found.append(to_request(options))

    outcome = CliRunner().invoke(app, words)
    assert outcome.exit_code == 0, outcome.output
    return found[0]


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_the_command_says_the_request_again(request_: Request) -> None:
    words = shlex.split(request_command.plan_command(request_, Path("/plans/a b.json")) or "")
    assert words[:2] == ["tao-skills", "plan"]
    assert words[-2:] == ["--out", "/plans/a b.json"]
    assert request_of(words[2:]) == request_


@pytest.mark.parametrize(
    "request_",
    [
        Request("toy", "train", datasets={"train": DatasetPaths("a.json", "media")}),
        Request("toy", "train", overrides={"a=b": 1}),
    ],
)
def test_what_options_cannot_say_is_planned_from_a_request_file(request_: Request, tmp_path: Path) -> None:
    path, copy = tmp_path / "plan.json", "planned_request.json"
    sealed = {"request": to_json(request_), "job": {"results_dir": "/elsewhere"}}
    assert request_command.plan_command(request_, path) is None
    command = f"tao-skills plan --request {copy} --out {path}"
    assert request_command.plan_again(sealed, path) == f"copy `request` of {path} to {copy}, then: {command}"
    launched = tmp_path / "request.json"
    launched.write_text(json.dumps(sealed["request"]))
    again = request_command.plan_again({**sealed, "job": {"results_dir": str(tmp_path)}}, path)
    assert again == f"tao-skills plan --request {launched} --out plan.json"


@pytest.mark.parametrize("name", ["plan.json", "logs/toy-train-1.plan.json"])
def test_the_plan_of_a_run_directory_is_not_replaced(name: str, tmp_path: Path) -> None:
    sealed = {"request": to_json(REQUESTS["bare"])}
    path = tmp_path / name
    assert request_command.plan_again(sealed, path).endswith(f" --out {path}")
    again = request_command.plan_again({**sealed, "job": {"results_dir": str(tmp_path)}}, path)
    assert again.endswith(f" --out {path.name}")
