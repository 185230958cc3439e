"""A plan over folders of somebody else runs nothing that lies in them, and writes nothing but its caches."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

import hostile

from tao_skill_bank.contracts import PlatformRequest, Request
from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import RequestError
from tao_skill_bank.planning import dispatch
from tao_skill_bank.samples import robot, vlm
from tao_skill_bank.staging import fetch

# What a folder may bring: code that a loader names, modules that shadow those of our own processes, pickles.
CODE = (
    *("modeling_theirs", "configuration_theirs", "tokenization_theirs", "processing_theirs", "pipeline", "dataset"),
    *("sitecustomize", "usercustomize", "conftest", "setup", "torch", "numpy", "json", "av", "PIL", "transformers"),
    *("diffusers", "safetensors", "psutil", "yaml", "tao_skill_bank"),
)
PICKLES = (
    *("pytorch_model.bin", "adapter_model.bin", "diffusion_pytorch_model.bin", "training_args.bin", "optimizer.pt"),
    *("scheduler.pt", "model.pkl", "model.joblib", "rng_state.pth", "data.npy", "features.npz", "cache.pt"),
)
AUTO_MAP = {
    "AutoConfig": "configuration_theirs.Theirs",
    "AutoModel": "modeling_theirs.Theirs",
    "AutoModelForCausalLM": "modeling_theirs.Theirs",
    "AutoTokenizer": ["tokenization_theirs.Theirs", "tokenization_theirs.Theirs"],
    "AutoProcessor": "processing_theirs.Theirs",
    "AutoImageProcessor": "processing_theirs.Theirs",
    "AutoVideoProcessor": "processing_theirs.Theirs",
}
CONFIGS = (
    *("config.json", "tokenizer_config.json", "preprocessor_config.json", "video_preprocessor_config.json"),
    *("processor_config.json", "generation_config.json", "adapter_config.json", "scheduler_config.json"),
)


def tiny_reason(_: Path, shared: Path, __: pytest.MonkeyPatch) -> Path:
    return fetch.fetch("builtin://tiny-cosmos-reason", shared / "builtin" / "tiny-cosmos-reason")


def tiny_predict(folder: Path, _: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the embedded pipeline, hardly trained: for a plan, the structure is enough."""
    from tao_skill_bank.models.cosmos_predict import builtin, pretraining

    one_step = pretraining.Stage(1, 1, 0.02, 4e-3)
    monkeypatch.setattr(builtin, "RECIPE", pretraining.Recipe(4, one_step, one_step, one_step))
    return fetch.fetch("builtin://tiny-cosmos-predict", folder)


def plant(folder: Path, mark: Path) -> None:
    """Add what would make the folder `mark` if it were run, to a folder and to those in it."""
    for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
        for name in CODE:
            (place / f"{name}.py").write_text(f"import os\nos.makedirs({str(mark)!r}, exist_ok=True)\n")
        for name in PICKLES:
            if not (place / name).exists():
                hostile.write(place / name, mark)
        for name in CONFIGS:
            if (place / name).is_file():
                held = json.loads((place / name).read_text())
                held |= {"auto_map": AUTO_MAP, "trust_remote_code": True, "custom_pipeline": "pipeline"}
                (place / name).write_text(json.dumps(held))
        for template in place.glob("*.jinja"):
            call = f"cycler.__init__.__globals__.os.makedirs('{mark}')"
            template.write_text(f"{{{{ {call} }}}}" + template.read_text())


def files_below(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def of_reason(tmp_path: Path, model: str) -> Request:
    data = vlm.make(tmp_path / "data", train=8, val=3, test=3)
    overrides = {"policy.model_name_or_path": model, "train.train_batch_per_replica": 4, "train.epoch": 1}
    datasets = {"train": str(data / "train"), "eval": str(data / "val")}
    return Request("tao-finetune-cosmos-reason", "train", automl_policy="off", datasets=datasets, overrides=overrides)


def of_predict(tmp_path: Path, model: str) -> Request:
    data = robot.make(tmp_path / "data", train=4, val=2, test=2)
    overrides = {"model.pretrained_model_name_or_path": model, "train.mixed_precision": "no"}
    overrides |= {"dataset.height": 48, "dataset.width": 80, "dataset.num_frames": 17}
    datasets = {"train": str(data / "train"), "eval": str(data / "val")}
    return Request("tao-finetune-cosmos-predict", "train", automl_policy="off", datasets=datasets, overrides=overrides)


@pytest.mark.slow
@pytest.mark.parametrize(("make_model", "make_request"), [(tiny_reason, of_reason), (tiny_predict, of_predict)])
def test_a_plan_runs_nothing_of_the_folders_that_it_reads(
    make_model: Any, make_request: Any, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, mark = tmp_path / "theirs", tmp_path / "mark"
    model = make_model(tmp_path / "model", shared, monkeypatch)
    shutil.copytree(model, theirs / "model")
    request = make_request(theirs, str(theirs / "model"))
    plant(theirs, mark)
    monkeypatch.chdir(theirs)  # children of the plan start here
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TAO_STATE_DIR", str(tmp_path / "file" / "state"))  # which can never be written
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "file").touch()
    before = files_below(tmp_path)

    sealed = dispatch.plan(Request(**{**vars(request), "platform": PlatformRequest(options={"device": "cpu"})}))

    codes = {found.code for found in sealed.findings}
    assert {"memory", "disk"} <= codes  # so that the model was looked into, though no cache could be written
    assert "steps" in codes
    assert sealed.blocking == ()
    assert not mark.exists()
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.makedirs [MARK]",
        "!!python/object/new:os.makedirs [MARK]",
        "!!python/object/apply:subprocess.Popen [[mkdir, MARK]]",
        "!!python/name:os.makedirs",
        "!!python/module:antigravity",
        "!<tag:yaml.org,2002:python/object/apply:os.makedirs> [MARK]",
    ],
)
def test_tags_of_yaml_run_nothing(tmp_path: Path, text: str) -> None:
    file = tmp_path / "request.yaml"
    file.write_text(f"skill: {text.replace('MARK', str(tmp_path / 'mark'))}\n")
    with pytest.raises(RequestError, match="not valid YAML"):
        yaml12.read(file)
    assert not (tmp_path / "mark").exists()
    assert "antigravity" not in sys.modules
    assert os.listdir(tmp_path) == ["request.yaml"]  # noqa: PTH208 - the names are compared
