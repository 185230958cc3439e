"""The whole flow with real parts: clips, tiny model, torchrun, evaluation, gaps, report in a real browser."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from needs import lacking

from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.runs.gaps import COLUMNS

BROWSER_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def summary(command_line: Callable[..., tuple[int, dict[str, Any]]], tmp_path: Path) -> dict[str, Any]:
    exit_code, document = command_line("demo", "--smoke", "--out", tmp_path / "demo")
    assert exit_code == 0
    return document


@pytest.mark.slow
def test_the_smoke_demo_runs_every_step_and_leaves_a_report(summary: dict[str, Any], tmp_path: Path) -> None:
    report = Path(summary["report"])
    training, tuned = report.parent / "training", report.parent / "tuned-evaluation"
    assert set(summary["accuracy"]) == {"base evaluation", "tuned evaluation"}
    assert all(JobStore().read(job).state == "COMPLETE" for job in summary["jobs"].values())

    config = tomllib.loads((tuned / "config" / "evaluate.toml").read_text())
    assert Path(config["model"]["model_name"]).parent == training
    results = json.loads((tuned / "results.json").read_text())
    wrong = [entry for entry in results if entry["response"].lower().strip() != entry["gt"].lower().strip()]
    table = pyarrow.parquet.read_table(summary["gaps"])
    assert tuple(table.column_names) == COLUMNS
    assert table.num_rows == len(wrong)
    assert all(Path(name).is_file() for name in table["video_id"].to_pylist())

    assert sum("train/loss_avg" in line for line in (training / "metrics.jsonl").read_text().splitlines()) == 2
    _check_in_a_browser(report, tmp_path)


def _check_in_a_browser(report: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        lacking("no Chromium on this machine; everything before it was checked")
    command = [browser, *BROWSER_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"file://{report}"]
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert page.count("<svg") >= 2
    assert page.count("data:image/jpeg") >= 3
    assert "tuned evaluation" in page
    assert re.search(r"""(src|href)\s*=\s*["']?(https?:)?//|url\(\s*["']?https?:""", page) is None  # loads nothing
