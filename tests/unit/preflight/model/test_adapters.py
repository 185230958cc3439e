from preflight_worlds import codes, make_job, only

from tao_skill_bank.preflight.model import adapters
from tao_skill_bank.preflight.model.inspection import Inspection


def findings_of(tmp_path, lora, **workload):
    workload = {"uses_adapter": True, **workload}
    return adapters.check(make_job(tmp_path, **workload), Inspection({"lora": lora}))


def matches(**targets):
    unmatched = [name for name, count in targets.items() if not count]
    return {"targets": targets, "unmatched": unmatched, "vision_modules": 0, "language_modules": sum(targets.values())}


def test_matched_modules_are_reported_per_target(tmp_path):
    found = only(findings_of(tmp_path, matches(q_proj=36, v_proj=36)), "adapter_targets")
    assert found.severity == "info"
    assert "q_proj 36" in found.message


def test_a_target_that_matches_nothing_blocks(tmp_path):
    found = only(findings_of(tmp_path, matches(q_proj=36, qkv=0)), "adapter_targets_unmatched")
    assert found.severity == "blocking"
    assert found.evidence["unmatched"] == ["qkv"]
    assert "q_proj" in found.fix


def test_a_full_fine_tuning_has_no_targets(tmp_path):
    assert codes(findings_of(tmp_path, None)) == []
    assert codes(findings_of(tmp_path, matches(qkv=0), uses_adapter=False)) == []
