import pytest
from preflight_worlds import codes, findings_on

from tao_skill_bank.contracts import Input


def findings_of(path, *any_of):
    return findings_on(Input("generated", "job_results", {"path": str(path)}, {"any_of": list(any_of)}))


@pytest.mark.parametrize("file", ["results.json", "videos/base/a.mp4"])
def test_a_folder_with_one_of_the_files_is_no_finding(tmp_path, file):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("")
    assert findings_of(tmp_path, "results.json", "videos/*/*.mp4") == []


def test_a_folder_with_none_of_them_blocks(tmp_path):
    (tmp_path / "results.json").mkdir()
    assert codes(findings_of(tmp_path, "results.json"), "blocking") == ["results_empty"]
    assert findings_of(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_blocks(tmp_path):
    (tmp_path / "results").write_text("")
    (found,) = findings_of(tmp_path / "results")
    assert (found.code, "is not a folder" in found.message) == ("results_missing", True)
