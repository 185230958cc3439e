"""The action embed as jobs: one is killed and retried, and what it writes is mined by the command that it prints."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from kill_supplies import REASON, Supplies
from kills import Kill, World, environment_of

from tao_skill_bank.bank import catalog
from tao_skill_bank.mining import embeddings

KEYS = ("--set", f"model_name_or_path={REASON}", "--set", "vision.nframes=4", "--set", "embedding.num_processes=0")


@pytest.fixture
def world(tmp_path: Path, shared: Path) -> World:
    environment = environment_of(tmp_path, str(catalog.bank_root()), os.environ.get("PYTHONPATH", ""))
    models = tmp_path / "state" / "models"
    models.mkdir(parents=True)
    (models / "builtin").symlink_to(shared / "builtin")
    return World(tmp_path, environment, Supplies(tmp_path))


def embed(data: Path, folder: str) -> tuple[str, ...]:
    skill = ("run", "tao-finetune-cosmos-reason", "embed")
    return (*skill, "--eval", str(data), *KEYS, "--option", "device=cpu", "--results-dir", folder, "--json")


def answer(world: World, *words: str) -> dict[str, Any]:
    done = world.call(*words)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, found
    return found


@pytest.mark.slow
def test_a_job_that_was_killed_is_retried_without_embedding_again_and_its_embeddings_are_mined(
    world: World, sample_data: Path
) -> None:
    victim = Kill(1, pick=-1, victim=r"cosmos_reason\.embed", within=r"/kpi/\.?embeddings\.parquet")
    killed = json.loads(world.killed(embed(sample_data / "test", "kpi"), victim).stdout)
    assert killed["state"] == "ERROR"
    assert not (world.folder / "kpi" / "embeddings.parquet").exists()
    (following,) = killed["next"]
    retried = answer(world, *following.split()[1:], "--json")
    assert retried["result"]["metrics"]["reused"] == retried["result"]["metrics"]["rows"] == 6
    assert retried["result"]["artifacts"]["embeddings"] == "embeddings.parquet"
    ended = answer(world, *embed(sample_data / "train", "pool"))
    (following,) = ended["next"]
    mine = following.replace("FILE", "kpi/embeddings.parquet").replace("FOLDER", "mined").split()[1:]
    found = answer(world, *mine, "--json")
    assert found["counts"]["queries"] == 6
    assert found["counts"]["clips"] > 0
    assert embeddings.opened(world.folder / "kpi" / "embeddings.parquet").num_rows == 6
