"""What a plan passes, the trainer's loader reads: generated records with real media, each planned by itself."""

import json
from pathlib import Path

import media_pool
import pytest
from PIL import Image
from record_generator import CLIPS, IMAGES, Generator

from tao_skill_bank.contracts import Request
from tao_skill_bank.planning import dispatch
from tao_skill_bank.staging import fetch

pytest.importorskip("torch")

from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.data import Presentation, Records, read_annotations
from tao_skill_bank.models.cosmos_reason.processor import Processor

SEED = 20261201
NUM_RECORDS = 20
SPEC = {
    "policy.model_name_or_path": "builtin://tiny-cosmos-reason",
    "train.train_batch_per_replica": 1,
    "train.train_policy.mini_batch": 1,
    "validation.enable": False,
}


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Every medium that the generator names, so that only records decide."""
    for name in CLIPS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        media_pool.clip((tmp_path / name).with_suffix(".mp4"), rate=4).rename(tmp_path / name)
    for name in (*IMAGES, "f0.jpg", "f1.jpg", "f2.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (64, 64), "red").save(tmp_path / name)
    return tmp_path


@pytest.mark.slow
def test_a_record_that_a_plan_passes_is_read_by_the_trainer(
    media: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor = Processor.load(
        fetch.fetch(SPEC["policy.model_name_or_path"], shared / "builtin" / "tiny-cosmos-reason")
    )
    generator, path = Generator(SEED), media / "annotations.json"
    passed = 0
    for _ in range(NUM_RECORDS):
        path.write_text(json.dumps([generator.record()], allow_nan=True).replace("Infinity", "1e999"))
        request = Request(
            "tao-finetune-cosmos-reason",
            "train",
            automl_policy="off",
            datasets={"train": {"annotation_path": str(path), "media_path": str(media)}},
            overrides=SPEC,
            results_dir=str(tmp_path / "run"),
        )
        planned = dispatch.plan(request)
        if any(finding.severity == "blocking" for finding in planned.findings):
            continue
        passed += 1
        records = Records(
            read_annotations(str(path)), str(media), processor, Presentation(VideoSampling(fps=1.0), 40960)
        )
        assert len(records[0].input_ids), path.read_text()
    assert passed > NUM_RECORDS / 10
