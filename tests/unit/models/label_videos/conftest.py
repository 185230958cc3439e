"""Three tiny clips, and runs of the action against a scripted server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")
pytest.importorskip("openai")

from preflight_worlds import write_clip

from tao_skill_bank.models.label_videos import label
from tao_skill_bank.models.label_videos.config import LabelConfig
from tao_skill_bank.training import config, plain_program


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Return a folder of three clips of 4, 5 and 6 frames, at 4, 5 and 8 frames per second."""
    for name, num_frames, fps in (("a", 4, 4), ("b", 5, 5), ("deep/c", 6, 8)):
        write_clip(tmp_path / "clips" / f"{name}.mp4", num_frames=num_frames, fps=fps)
    return tmp_path / "clips"


def spec_of(clips: Path, url: str, **changes: Any) -> LabelConfig:
    """Return a spec as a config file gives it; `endpoint` in the changes adds to the usual keys."""
    endpoint = {"url": url, "max_retries": 0, "concurrency": 1, **changes.pop("endpoint", {})}
    values = {"clips": str(clips), "endpoint": endpoint, "num_frames": 3, **changes}
    return config.pydantic.TypeAdapter(LabelConfig).validate_json(json.dumps(values))


@pytest.fixture
def run(clips: Path, tmp_path: Path) -> Callable[..., int]:
    """Run the action on the clips, in the same run directory each time; returns its exit code."""

    def run_on(server: Any, source: Path = clips, **changes: Any) -> int:
        return plain_program.run(spec_of(source, server.url, **changes), label.label, tmp_path / "run")

    return run_on


class Outputs:
    """What a run directory holds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def lines(self, name: str) -> list[Any]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def document(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    @property
    def records(self) -> list[dict[str, Any]]:
        return self.document("annotations.json")

    @property
    def metrics(self) -> dict[str, Any]:
        return self.document("metrics_summary.json")["metrics"]

    @property
    def last_status(self) -> dict[str, Any]:
        return self.lines("status.jsonl")[-1]


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(tmp_path / "run")
