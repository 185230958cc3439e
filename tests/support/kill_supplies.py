"""What the stages of tests/e2e/test_kills.py read, made once and only where a stage asks for it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest
from object_store import ObjectStore

from tao_skill_bank.models.cosmos_predict import builtin
from tao_skill_bank.models.cosmos_predict.pretraining import Recipe
from tao_skill_bank.models.cosmos_predict.pretraining import Stage as Steps
from tao_skill_bank.samples import robot, vlm
from tao_skill_bank.staging import fetch

# The right structure in seconds; its videos show nothing.
SHORT = Recipe(8, images=Steps(4, 2, 0.02, 4e-3), windows=Steps(1, 1, 0.02, 4e-3), transformer=Steps(4, 2, 0.03, 5e-3))
REASON = "builtin://tiny-cosmos-reason"
OBJECTS = {f"data/{number}.bin": bytes([number]) * size for number, size in enumerate((0, 1, 1000, 9 * 2**20))}


@dataclass
class Supplies:
    """Models and data below a folder that worlds share."""

    folder: Path

    @cached_property
    def pipeline(self) -> Path:
        folder = self.folder / "tiny-cosmos-predict"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(builtin, "RECIPE", SHORT)
            builtin.create("tiny-cosmos-predict", folder)
        return folder

    @cached_property
    def prompts(self) -> Path:
        """Return a folder of three prompts with their first frames."""
        return robot.make(self.folder / "robot", train=3, val=3, test=3) / "test"

    @cached_property
    def clips(self) -> Path:
        """Return a folder of four clips with their annotations."""
        return vlm.make(self.folder / "vlm", train=4, val=3, test=3) / "train"

    @cached_property
    def models(self) -> Path:
        """Return a folder of embedded models, with the one of Reason."""
        models = self.folder / "builtin"
        fetch.fetch(REASON, models / REASON.removeprefix("builtin://"))
        return models


def fill(store: ObjectStore, supplies: Supplies) -> None:
    """Put OBJECTS and the clips into a store."""
    store.put_many(OBJECTS)
    store.put_folder(supplies.clips, "clips")
