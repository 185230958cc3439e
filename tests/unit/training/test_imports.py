"""Libraries are loaded early and without extras that a spec leaves unused; what the program imports itself is there."""

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tao_skill_bank.training import imports

LIBRARY = "has_extra = __import__('importlib.util').util.find_spec('an_extra') is not None\n"


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a library that looks for an extra, as transformers does."""
    (tmp_path / "a_library.py").write_text(LIBRARY)
    (tmp_path / "an_extra.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("a_library", "an_extra"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "a_library"


@pytest.mark.parametrize(("without", "found"), [((), True), (("an_extra",), False)])
def test_a_library_finds_no_extra_that_the_program_does_without(
    library: str, without: tuple[str, ...], found: bool
) -> None:
    imports.load([library], without=without)
    assert sys.modules[library].has_extra is found
    import an_extra

    assert sys.modules["an_extra"] is an_extra


def test_a_library_that_is_not_installed_is_left_to_the_program(library: str) -> None:
    imports.load(["no_such_library", library])
    assert library in sys.modules


def test_a_library_that_is_broken_says_so(tmp_path: Path, library: str) -> None:
    (tmp_path / "broken_library.py").write_text("raise OSError('no driver')")
    with pytest.raises(OSError, match="no driver"):
        imports.load(["broken_library"], without=["an_extra"])
    assert gc.isenabled()
    assert sys.modules.get("an_extra", True)


@pytest.mark.parametrize(
    ("configs", "needed"),
    [
        ({"config.json": {"model_type": "qwen3_vl"}}, False),
        ({"config.json": {"quantization_config": {"quant_method": "bitsandbytes"}}}, True),
        ({"vae/config.json": {}, "text_encoder/config.json": {"quantization_config": {}}}, True),
        ({"vae/config.json": {}, "model_index.json": {}}, False),
        ({}, True),
    ],
)
def test_quantized_weights_are_seen_in_any_part_of_a_checkpoint(tmp_path: Path, configs: dict, needed: bool) -> None:
    for name, config in configs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(config))
    assert imports.needs_quantization(str(tmp_path)) is needed


def test_a_checkpoint_that_is_not_local_may_be_quantized() -> None:
    assert imports.needs_quantization("hf_model://nvidia/Cosmos-Reason2-2B")


CODE = """
import sys
from tao_skill_bank.models.cosmos_reason import preload
from tao_skill_bank.models.cosmos_reason.config import TrainConfig
from tao_skill_bank.training.config import load_spec
from pathlib import Path
preload.for_training(load_spec(TrainConfig, Path(sys.argv[1])))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""
SPEC = """
[custom.train_dataset]
annotation_path = "a.json"
media_path = "media"
[policy]
model_name_or_path = "{model}"
[policy.lora]
r = 4
"""


@pytest.mark.slow
def test_a_training_of_plain_weights_loads_no_library_of_quantized_ones(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "train.toml").write_text(SPEC.format(model=tmp_path))
    command = [sys.executable, "-c", CODE, str(tmp_path / "train.toml")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {"transformers", "peft"} <= set(loaded)
    assert not {*imports.QUANTIZATION, *imports.OTHER} & set(loaded)
