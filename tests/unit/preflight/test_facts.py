import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from preflight_worlds import QuietPlatform, make_job, use_of

from tao_skill_bank.preflight import facts
from tao_skill_bank.preflight.facts import Facts, once


class Slow:
    """Two values, one made of the other."""

    def __init__(self):
        self.known, self.calls = {}, []
        self.locks = {"first": threading.Lock(), "second": threading.Lock()}

    @once
    def first(self):
        self.calls.append("first")
        time.sleep(0.05)
        return 1

    @once
    def second(self):
        self.calls.append("second")
        return self.first + 1


def test_a_value_is_computed_once_however_many_threads_ask_for_it():
    slow = Slow()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(getattr, slow, name) for name in ("first", "second") * 4]
        assert sorted(future.result() for future in asked) == [1] * 4 + [2] * 4
    assert sorted(slow.calls) == ["first", "second"]


@pytest.fixture
def known(dataset, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        options = {"preflight_samples": 2, "preflight_decode_seconds": -1, "preflight_header_seconds": 7}
        job = make_job(tmp_path, use_of(dataset()), options=options)
        yield Facts(job, QuietPlatform(), compares_resumed=True, pool=pool, scratch=tmp_path)


def test_nothing_is_looked_at_before_it_is_asked_for(known):
    assert known.known == {}
    assert known.runs_here
    assert set(known.known) == {"runs_here"}


def test_the_inputs_are_seen_by_their_kinds_with_the_options_of_the_platform(known):
    (seen,) = known.inputs
    assert seen.input == known.job.workload.inputs[0]
    assert len(known.records) == len(seen.records) <= 3  # two samples, and the longest record
    assert known.kind_context.decode_seconds == facts.DEFAULT_DECODE_SECONDS
    assert known.kind_context.header_budget.seconds == 7


def test_every_name_that_a_check_may_use_is_one_of_the_facts(known):
    assert all(hasattr(known, name) for name in facts.names() - {"inspection", "feature_cache"})
    assert {"job", "inputs", "inspection", "feature_cache"} <= facts.names()
