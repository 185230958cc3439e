from preflight_worlds import clips_of, codes, look, make_job, use_of, write_clip

from tao_skill_bank.contracts import Input
from tao_skill_bank.preflight.data import inputs


def findings_of(job):
    seen, context = look(*job.workload.inputs)
    return inputs.check(job, seen, context)


def test_inputs_of_one_kind_are_checked_together_kind_by_kind(dataset, tmp_path):
    for role in ("train", "val"):
        write_clip(tmp_path / role / "a.mp4")
        (tmp_path / role / "a.txt").write_text("It moves.")
    given = (clips_of(tmp_path / "train"), use_of(dataset("records")), clips_of(tmp_path / "val", "eval"))
    found = findings_of(make_job(tmp_path, *given))
    assert codes(found) == ["clips", "clips", "train_eval_overlap", "dataset_records", "media_decoded"]


def test_a_job_that_reads_nothing_has_no_finding(tmp_path):
    assert findings_of(make_job(tmp_path)) == []


def test_a_missing_folder_blocks(tmp_path):
    absent = Input("generated", "job_results", {"path": str(tmp_path / "absent")})
    assert codes(findings_of(make_job(tmp_path, absent)), "blocking") == ["results_missing"]
