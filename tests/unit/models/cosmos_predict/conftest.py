"""One tiny pipeline and one small dataset for all tests of this folder."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

import torch

from tao_skill_bank.models.cosmos_predict import builtin
from tao_skill_bank.models.cosmos_predict.pretraining import Recipe, Stage
from tao_skill_bank.samples import robot

# The right structure and latents of about unit variance in seconds; its videos show nothing.
SHORT = Recipe(8, images=Stage(4, 2, 0.02, 4e-3), windows=Stage(1, 1, 0.02, 4e-3), transformer=Stage(4, 2, 0.03, 5e-3))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder of the embedded model's structure, hardly trained."""
    folder = tmp_path_factory.mktemp("models") / "tiny-cosmos-predict"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtin, "RECIPE", SHORT)
        builtin.create("tiny-cosmos-predict", folder)
    return folder


@pytest.fixture(scope="session")
def robot_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 training and 3 validation clips of 25 frames, 48 x 80 pixels, and 3 test pairs with their reference clips."""
    return robot.make(tmp_path_factory.mktemp("data") / "robot", train=6, val=3, test=3)
