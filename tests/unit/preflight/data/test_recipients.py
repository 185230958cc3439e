"""Which server gets how much of the data, and that no host gets any unasked."""

import pytest

pytest.importorskip("av")

from preflight_worlds import write_clip

from tao_skill_bank.contracts import Request
from tao_skill_bank.planning import dispatch

PRICES = {"endpoint.price_per_million_input_tokens": 1.0, "endpoint.price_per_million_output_tokens": 2.0}
ELSEWHERE = "https://labels.example/v1"


@pytest.fixture
def plan_of(tmp_path):
    for name in ("a", "b", "c"):
        write_clip(tmp_path / "clips" / f"{name}.mp4", num_frames=4)

    def plan(url, **overrides):
        given = {"endpoint.url": url, **overrides}
        request = Request("tao-label-videos", "label", datasets={"clips": str(tmp_path / "clips")}, overrides=given)
        return dispatch.plan(request)

    return plan


def finding(plan, code):
    return next(found for found in plan.findings if found.code == code)


def test_another_host_blocks_and_only_the_user_may_choose_to_allow_it(plan_of):
    plan = plan_of(ELSEWHERE, **PRICES)
    found = finding(plan, "host_not_allowed")
    assert found.severity == "blocking"
    assert "3 clips are sent to labels.example: about 9 requests" in found.message
    assert "which cost about" in found.message
    assert dict(found.fix_set) == {}
    assert found.fix_choices == ({"endpoint.allow_hosts": ["labels.example"]},)
    allowed = plan_of(ELSEWHERE, **found.fix_choices[0])
    assert allowed.blocking == ()
    assert "OPENAI_API_KEY" in finding(allowed, "data_is_sent").message


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://localhost:8000/v1", "http://[::1]:8000/v1"])
def test_this_machine_needs_no_permission_and_is_named(plan_of, url):
    plan = plan_of(url)
    assert plan.blocking == ()
    assert "(this machine)" in finding(plan, "data_is_sent").message


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1.evil.example/v1",
        "http://labels.example@evil.example/v1",
        "http://0.0.0.0/v1",
        "http://10.0.0.1/v1",
    ],
)
def test_a_name_that_looks_like_an_allowed_one_is_another_host(plan_of, url):
    plan = plan_of(url, **{"endpoint.allow_hosts": ["labels.example"]})
    assert finding(plan, "host_not_allowed").severity == "blocking"


def test_a_pilot_counts_its_own_clips_and_the_estimate_grows_with_what_is_asked(plan_of):
    local = "http://127.0.0.1:8000/v1"
    whole = finding(plan_of(local, **PRICES), "data_is_sent").evidence
    pilot = finding(plan_of(local, pilot=1, **PRICES), "data_is_sent").evidence
    assert (whole["count"], pilot["count"]) == (3, 1)
    assert whole["cost"] == pytest.approx(3 * pilot["cost"])
    assert whole["cost"] == pytest.approx((whole["input_tokens"] + 2 * whole["output_tokens"]) / 1e6)
    again = finding(plan_of(local, **{"second_pass.enable": True, "num_frames": 16}), "data_is_sent").evidence
    assert again["requests"] == 12
    assert again["input_tokens"] > 3 * whole["input_tokens"]


def test_a_job_gets_the_variable_of_its_servers_key_by_name(plan_of):
    plan = plan_of("http://127.0.0.1:8000/v1", **{"endpoint.api_key_variable": "LABELS_KEY"})
    assert {"OPENAI_API_KEY", "LABELS_KEY"} <= {credential.name for credential in plan.job.credentials}
