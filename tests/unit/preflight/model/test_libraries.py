import sys
from dataclasses import replace

import pytest
from preflight_worlds import make_job

from tao_skill_bank.bank import catalog
from tao_skill_bank.core import nested, yaml12
from tao_skill_bank.preflight.model import libraries

MODULES = "tao_skill_bank.models"


@pytest.fixture
def findings_of(tmp_path, monkeypatch):
    def run(skill, action, absent=(), image=None, runs_here=True, **values):
        found = catalog.find(skill)
        spec = yaml12.read(found.folder / "references" / f"spec_template_{action}.yaml")
        for path, value in values.items():
            spec = nested.with_value(spec, path.replace("__", "."), value)
        module = found.action(action).module
        job = replace(make_job(tmp_path), skill=found.name, action=action, module=module, spec=spec, image=image)
        for name in absent:
            monkeypatch.setitem(sys.modules, name, None)  # Python's own way to say that it is not to be found
        return libraries.check(job, runs_here=runs_here)

    return run


def test_an_action_whose_modules_are_installed_has_no_finding(findings_of):
    assert findings_of("cosmos-predict", "train") == []
    assert findings_of("cosmos-reason", "export") == []


@pytest.mark.parametrize(
    ("model", "fix_set", "choices"),
    [
        ("hf_model://nvidia/Cosmos-Predict2.5-2B", {}, ({"safety_checker": "off"},)),
        ("builtin://tiny-cosmos-predict", {"safety_checker": "off"}, ()),
    ],
)
def test_a_generation_without_the_guardrail_is_stopped_with_the_install_and_the_key(
    findings_of, model, fix_set, choices
):
    values = {"model__pretrained_model_name_or_path": model}
    (found,) = findings_of("cosmos-predict", "generate", ["cosmos_guardrail"], **values)
    assert (found.code, found.severity, found.blocks_run) == ("missing_extra", "warning", True)
    assert found.path == "safety_checker"
    assert found.fix.startswith("pip install cosmos_guardrail, or set safety_checker=off; ")
    assert (found.fix_set, found.fix_choices) == (fix_set, choices)
    assert findings_of("cosmos-predict", "generate", ["cosmos_guardrail"], safety_checker="off", **values) == []


@pytest.mark.parametrize(
    ("skill", "action", "module", "values", "fix_set"),
    [
        ("cosmos-predict", "train", "wandb", {"logging__logger": ["tao", "wandb"]}, {"logging.logger": ["tao"]}),
        ("cosmos-predict", "train", "diffusers", {}, {}),
        ("cosmos-predict", "evaluate", "cv2", {"metrics": ["sampson"]}, {}),
        ("cosmos-reason", "train", "torchao", {"train__fp8__enable_fp8": True}, {"train.fp8.enable_fp8": False}),
        (
            "cosmos-reason",
            "train",
            "bitsandbytes",
            {"policy__lora__load_in_4bit": True},
            {"policy.lora.load_in_4bit": False},
        ),
        (
            "cosmos-reason",
            "evaluate",
            "vllm",
            {"evaluation__engine": "vllm"},
            {"evaluation.engine": "transformers"},
        ),
        (
            "cosmos-reason",
            "evaluate",
            "matplotlib",
            {},
            {"results.save_confusion_matrix": False},
        ),
        ("cosmos-reason", "quantize", "compressed_tensors", {}, {}),
    ],
)
def test_a_module_that_an_action_imports_late_is_missed_before_it_starts(
    findings_of, skill, action, module, values, fix_set
):
    (found,) = findings_of(skill, action, [module], **values)
    assert found.blocks_run
    assert f"'{module}'" in found.message
    assert found.fix.startswith("pip install 'tao-skill-bank[")
    assert found.fix_set == fix_set


def test_a_metric_that_is_left_out_without_its_library_stops_nothing(findings_of):
    (found,) = findings_of("cosmos-reason", "evaluate", ["bert_score"], metrics__names=["bleu", "bertscore"])
    assert (found.severity, found.blocks_run) == ("warning", False)
    assert found.fix_set == {"metrics.names": ["bleu"]}


def test_a_quantized_checkpoint_needs_the_library_that_reads_it(findings_of, tmp_path):
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "compressed-tensors"}}')
    (found,) = findings_of("cosmos-reason", "inference", ["compressed_tensors"], model_path=str(tmp_path))
    assert "The quantized checkpoint" in found.message


@pytest.mark.parametrize("place", [{"image": "repo/image:1"}, {"runs_here": False}])
def test_what_an_image_or_another_machine_holds_is_not_looked_for(findings_of, place):
    assert findings_of("cosmos-predict", "train", ["diffusers"], **place) == []
