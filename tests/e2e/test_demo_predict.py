"""The robot video flow with real parts: clips, a tiny pipeline, LoRA and DoRA, videos, Sampson error, gallery."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.jobs.store import JobStore

VARIANTS = {"base", "lora", "dora"}


@pytest.mark.slow
def test_the_smoke_demo_makes_videos_with_base_and_adapters(
    command_line: Callable[..., tuple[int, dict[str, Any]]], tmp_path: Path
) -> None:
    exit_code, summary = command_line("demo", "predict", "--smoke", "--out", tmp_path / "demo")
    assert exit_code == 0
    assert all(JobStore().read(job).state == "COMPLETE" for job in summary["jobs"].values())
    gallery = Path(summary["report"])
    entries = json.loads((gallery.parent / "results.json").read_text())
    assert {entry["variant"] for entry in entries} == VARIANTS
    assert len(entries) == len(VARIANTS) * 3
    page = gallery.read_text()
    assert all(entry["output"] in page and (gallery.parent / entry["output"]).is_file() for entry in entries)
    generation = json.loads((gallery.parent / "generation.json").read_text())
    assert generation["safety_checker"] == "off"
    assert set(summary["quality"]["centroid_error"]) == VARIANTS
    assert set(summary["losses"]) == VARIANTS
