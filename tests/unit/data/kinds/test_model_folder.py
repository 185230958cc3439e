from preflight_worlds import codes, findings_on

from tao_skill_bank.contracts import Input


def findings_of(path):
    return findings_on(Input("tokenizer", "model_folder", {"path": str(path)}))


def test_a_folder_and_what_is_fetched_before_the_launch_are_no_finding(tmp_path):
    assert findings_of(tmp_path) == []
    assert findings_of("hf_model://org/name") == []
    assert findings_of("builtin://tiny-cosmos-reason") == []


def test_a_folder_that_does_not_exist_is_a_missing_checkpoint(tmp_path):
    found = findings_of(tmp_path / "absent")
    assert codes(found, "blocking") == ["checkpoint_missing"]
    assert str(tmp_path / "absent") in found[0].message
