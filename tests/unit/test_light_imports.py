"""The control plane starts without the training stack, whatever is installed."""

import json
import pkgutil
import subprocess
import sys

import pytest

import tao_skill_bank
from tao_skill_bank import models

HEAVY = {"torch", "transformers", "peft", "accelerate", "numpy", "pyarrow", "av", "matplotlib", "sklearn", "PIL"}
TRAINING_PLANE = (
    "tao_skill_bank.models",
    "tao_skill_bank.training",
    "tao_skill_bank.samples",
    "tao_skill_bank.__main__",
)
CONTROL_PLANE = [
    module.name
    for module in pkgutil.walk_packages(tao_skill_bank.__path__, "tao_skill_bank.")
    if not module.name.startswith(TRAINING_PLANE)
]
CONFIGS = [
    f"tao_skill_bank.models.{model.name}.{part}"
    for model in pkgutil.iter_modules(models.__path__)
    for part in ("config", "workload")
]


def loaded_after_importing(*modules: str) -> set[str]:
    program = f"import sys, json; [__import__(name) for name in {modules!r}]; print(json.dumps(list(sys.modules)))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(finished.stdout)}


@pytest.mark.slow
def test_no_module_of_the_control_plane_loads_the_training_stack() -> None:
    assert len(CONTROL_PLANE) > 40
    assert loaded_after_importing(*CONTROL_PLANE) & HEAVY == set()


@pytest.mark.parametrize("module", CONFIGS)
def test_a_model_config_loads_without_the_training_stack(module: str) -> None:
    assert loaded_after_importing(module) & HEAVY == set()


def test_the_public_names_are_importable_and_lazy() -> None:
    assert "pydantic" not in loaded_after_importing("tao_skill_bank")
    for name in tao_skill_bank.__all__:
        assert getattr(tao_skill_bank, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'launch'"):
        _ = tao_skill_bank.launch  # type: ignore[attr-defined]
