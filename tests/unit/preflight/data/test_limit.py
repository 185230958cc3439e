import pytest
from preflight_worlds import codes, look, make_job, make_record, only, use_of

from tao_skill_bank.contracts import Limit
from tao_skill_bank.preflight.data import limit


@pytest.mark.parametrize(("count", "expected"), [(2, ["subset"]), (3, []), (4, ["limit_above_data"])])
def test_a_limit_is_compared_with_the_records(dataset, tmp_path, count, expected):
    root = dataset(records=[make_record(index) for index in range(3)])
    job = make_job(tmp_path, use_of(root, "eval"), limit=Limit("a.limit", count, takes_all=-1))
    seen = look(*job.workload.inputs, required_fields=("video_fps",))[0]
    found = limit.check(job, seen)
    assert codes(found) == expected
    if count == 4:
        assert only(found, "limit_above_data").fix_set == {"a.limit": -1}
    assert limit.check(make_job(tmp_path, use_of(root, "eval")), seen) == []
