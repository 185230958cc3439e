import pytest

from tao_skill_bank import platforms
from tao_skill_bank.contracts import (
    Finding,
    Input,
    PlatformRequest,
    Request,
    Route,
    Severity,
    Workload,
)
from tao_skill_bank.errors import BlockedError, RequestError, TaoSkillsError, UnknownNameError
from tao_skill_bank.planning import gate

AUTOML = Route("automl", "tao-skill-bank:tao-run-automl", "because")
DIRECT = Route("direct", "tao-skill-bank:x", "because")


def finding(code: str, severity: Severity = "blocking", **evidence: object) -> Finding:
    return Finding(code, severity, f"{code} happened", "Mend it.", evidence=dict(evidence))


@pytest.mark.parametrize(
    ("codes", "kind", "exit_code"),
    [
        (["credential_missing"], BlockedError, 4),
        (["credential_missing", "credential_gated"], BlockedError, 4),
        (["credential_missing", "media_missing"], BlockedError, 3),
        (["media_missing"], BlockedError, 3),
        (["checkpoint_missing"], UnknownNameError, 5),
        (["checkpoint_missing", "media_missing"], BlockedError, 3),
    ],
)
def test_the_exit_code_says_whose_turn_it_is(codes: list[str], kind: type[TaoSkillsError], exit_code: int) -> None:
    with pytest.raises(kind) as caught:
        gate.raise_if_blocked([finding(code) for code in codes])
    assert caught.value.exit_code == exit_code
    assert [problem.code for problem in caught.value.problems] == codes


def test_what_only_this_machine_lacks_lets_a_plan_pass_and_stops_a_run() -> None:
    missing = finding("gpu_missing", "warning", blocks_run=True)
    assert missing.blocks_run
    assert not finding("odd_rate", "warning").blocks_run
    assert finding("media_missing").blocks_run


def test_an_overlap_of_training_and_validation_blocks_a_search_only() -> None:
    overlap = finding("train_eval_overlap", "warning")
    assert [found.severity for found in gate.for_route([overlap], DIRECT)] == ["warning"]
    assert [found.severity for found in gate.for_route([overlap], AUTOML)] == ["blocking"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"devise": "cpu"}, "unknown_option"),
        ({"grace_seconds": "x"}, "invalid_option"),
        ({"preflight_samples": -5}, "invalid_option"),
    ],
)
def test_platform_options_that_mean_nothing_are_refused(options: dict[str, object], code: str) -> None:
    request = Request("s", "train", platform=PlatformRequest(options=options))
    with pytest.raises(RequestError) as caught:
        gate.require_known_options(request, platforms.load("local"))
    assert [problem.code for problem in caught.value.problems] == [code]


def test_of_many_platform_options_only_the_unknown_one_is_refused() -> None:
    known = {"device": "cpu", "grace_seconds": 5, "preflight_samples": 2, "preflight_decode_seconds": 1.5}
    known["preflight_header_seconds"] = 60
    request = Request("s", "train", platform=PlatformRequest(options={**known, "grace_second": 5}))
    with pytest.raises(RequestError, match="Did you mean 'grace_seconds'") as caught:
        gate.require_known_options(request, platforms.load("local"))
    assert [problem.path for problem in caught.value.problems] == ["platform.options.grace_second"]


@pytest.mark.parametrize(
    "workload",
    [
        Workload("m", validation_split=0.1),
        Workload("m", inputs=(Input("eval", "annotations", {"annotation_path": "a.json", "media_path": "m"}),)),
        Workload("m", inputs=(Input("eval", "captioned_clips", {"path": "val"}),)),
    ],
)
def test_a_search_needs_validation_data_and_direct_training_does_not(workload: Workload) -> None:
    gate.require_validation(AUTOML, workload)
    gate.require_validation(DIRECT, Workload("m"))
    with pytest.raises(RequestError, match="there is none"):
        gate.require_validation(AUTOML, Workload("m"))
