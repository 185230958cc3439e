"""Robot video: prepare, train LoRA and DoRA, generate with base and adapters, measure, gallery and report."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.demo._session import DemoSession
from tao_skill_bank.errors import JobFailedError
from tao_skill_bank.report import write_report
from tao_skill_bank.runs import results
from tao_skill_bank.runs.results import Result
from tao_skill_bank.weights import model_uri

MODEL = "builtin://tiny-cosmos-predict"
QUALITY = "tao_skill_bank.models.cosmos_predict.quality"
ADAPTERS = ("lora", "dora")


@dataclass(frozen=True)
class Size:
    """Sizes of the demo's data, training and generation."""

    train: int = 48
    val: int = 8
    test: int = 4
    epochs: int = 12
    batch: int = 4
    steps: int = 20


FULL, SMOKE = Size(), Size(train=6, val=3, test=3, epochs=1, batch=1, steps=3)


def run(folder: Path, *, smoke: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the demo and return its summary. Raises JobFailedError when an adapter does not lower the held-out loss."""
    size = SMOKE if smoke else FULL
    session = DemoSession.begin(folder, say)
    data = session.make_samples("robot", train=size.train, val=size.val, test=size.test)
    inputs = {"data": str(data), "model": MODEL, "epochs": size.epochs, "batch": size.batch, "steps": size.steps}
    losses: dict[str, float] = {}

    def note(step: str, _result: Result) -> None:
        if step in ADAPTERS:
            _note_losses(session, step, losses)

    session.run_workflow("predict_adapters", inputs, note)
    quality = _measure(session, data)
    measured = results.read(session.runs["evaluation"]).metrics
    for name, value in sorted(measured.items()):
        session.note(f"{name}: {'not measurable' if value is None else f'{value:.2f}'}")
    page = write_report(session.runs, session.folder / "report.html")
    gallery = session.runs["generation"].path / "gallery.html"
    summary = session.summarise(
        smoke=smoke,
        report=str(gallery),
        training_report=str(page),
        losses=losses,
        quality=quality,
        sampson=measured,
        last_job=session.jobs["evaluation"],
    )
    _require_better_than_base(losses, smoke=smoke, page=page)
    session.note("every job is COMPLETE; open the gallery:")
    return summary


def _note_losses(session: DemoSession, adapter: str, losses: dict[str, float]) -> None:
    curve = results.curves(session.runs[adapter])["validation_loss"].values
    losses["base"], losses[adapter] = curve[0], min(curve)
    session.note(f"{adapter}: held-out loss {min(curve):.4f}, the base's is {curve[0]:.4f}")


def _measure(session: DemoSession, data: Path) -> dict[str, Any]:
    """Let the training plane measure the quality of the embedded VAE and the generated videos."""
    generated = session.runs["generation"].path
    command = [sys.executable, "-P", "-m", QUALITY, str(model_uri.local_folder(MODEL)), str(generated), str(data)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode != 0:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        message = f"The videos of {generated} could not be measured: {lines[-1]}"
        raise JobFailedError.of(
            "quality_not_measured",
            message,
            "Run the command of this problem's path to see why.",
            path=" ".join(command),
        )
    quality: dict[str, Any] = json.loads(child.stdout)
    session.note(f"VAE reconstruction: {quality['psnr_db']:.1f} dB")
    for variant, found in quality["centroid_error"].items():
        pixels = "lost" if found["pixels"] is None else f"{found['pixels']:.1f} pixels off"
        session.note(f"object in the videos of {variant}: {pixels}, seen in {found['found']:.0%} of the frames")
    return quality


def _require_better_than_base(losses: Mapping[str, float], *, smoke: bool, page: Path) -> None:
    worse = [name for name in ADAPTERS if losses[name] >= losses["base"]]
    if worse and not smoke:
        message = f"The held-out loss of {' and '.join(worse)} is not below the base's {losses['base']:.4f}."
        raise JobFailedError.of("loss_above_base", message, f"Read {page} and report it as a bug.")
