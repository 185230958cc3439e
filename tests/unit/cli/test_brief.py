"""Brief answers: what a plan decides, each problem once, never more than 6,000 bytes."""

import json
import secrets
from dataclasses import replace
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import make_job, make_plan

from tao_skill_bank.bank import catalog
from tao_skill_bank.cli import agent_text, brief, formats, shortening
from tao_skill_bank.cli.request_options import Options
from tao_skill_bank.contracts import Finding, PlatformRequest
from tao_skill_bank.core import nested
from tao_skill_bank.errors import Problem, RequestError

TEXTS = st.builds(lambda part, times: part * times, st.text(max_size=8), st.sampled_from([0, 1, 3, 40, 250]))
FINDINGS = st.builds(
    Finding,
    code=TEXTS,
    severity=st.sampled_from(brief.ORDER),
    message=TEXTS,
    fix=TEXTS,
    path=TEXTS,
    evidence=st.dictionaries(TEXTS, st.lists(TEXTS, max_size=5), max_size=3),
    fix_set=st.dictionaries(TEXTS, TEXTS, max_size=2),
)
PROBLEMS = st.builds(Problem, code=TEXTS, message=TEXTS, fix=TEXTS, path=TEXTS, got=TEXTS, expected=TEXTS)
FACTS = st.fixed_dictionaries(
    {
        "sha256": st.just("0" * 64),
        "skill": TEXTS,
        "route": st.fixed_dictionaries({"kind": st.just("automl"), "reason": TEXTS}),
        "results_dir": TEXTS,
        "platform": st.fixed_dictionaries({"name": TEXTS, "options": st.dictionaries(TEXTS, TEXTS, max_size=9)}),
        "image": TEXTS,
        "estimate": st.fixed_dictionaries({"epochs": st.integers(), "how": TEXTS}),
        "search": st.fixed_dictionaries(
            {"algorithm": TEXTS, "keys": st.dictionaries(TEXTS, TEXTS, max_size=30), "notes": st.lists(TEXTS)}
        ),
        "changed": st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS), max_size=60),
    }
)


def size(answer: dict[str, Any]) -> int:
    """Return the bytes on stdout, line end included."""
    return len(shortening.document(answer).encode("utf-8", "backslashreplace")) + 1


def found(severity: str, number: int = 0, **fields: Any) -> Finding:
    return Finding(f"code_{number}", severity, **{"message": f"Message {number}.", "fix": "Fix it.", **fields})


@settings(max_examples=25, deadline=None)
@given(
    facts=FACTS,
    findings=st.lists(FINDINGS, max_size=14),
    problems=st.lists(PROBLEMS, max_size=12),
    following=st.lists(TEXTS, max_size=3),
)
def test_whatever_is_asked_the_answer_has_at_most_6000_bytes(facts, findings, problems, following) -> None:
    answer = brief.fitted(facts, code=3, problems=problems, findings=findings, following=following)
    assert size(answer) <= brief.MAX_BYTES
    blocking = len(problems) + sum(each.severity == "blocking" for each in findings)
    shown = len(answer["errors"]) + len(answer["findings"])
    assert len(answer["errors"]) == min(blocking, brief.MAX_FINDINGS)
    assert shown + sum(answer.get("more", {}).values()) == len(findings) + len(problems)
    assert (answer["sha256"], answer["code"]) == ("0" * 64, 3)


@pytest.mark.parametrize("character", ["\x01", "視"])
def test_the_worst_request_still_fits(character: str) -> None:
    long = character * 700
    texts = {"message": long, "fix": long, "path": long, "evidence": {long: long}, "fix_set": {long: long}}
    findings = [replace(found("blocking", **texts), code=f"{number}{long}") for number in range(20)]
    keys = {f"{number}{long}": long for number in range(60)}
    facts = dict.fromkeys(("sha256", "job_id", "skill", "action", "results_dir", "image"), long)
    facts |= {"changed": keys, "search": {"algorithm": long, "keys": keys, "notes": [long] * 9, "budget": keys}}
    facts |= {name: dict(list(keys.items())[:8]) for name in ("route", "resources", "platform", "steps", "estimate")}
    answer = brief.fitted(facts, code=3, findings=findings, following=[f"tao-skills run {long}"])
    assert size(answer) <= brief.MAX_BYTES
    assert len(answer["errors"]) == 10


def test_each_problem_is_there_once_the_gravest_first_and_the_rest_is_counted() -> None:
    findings = [found(severity, 0) for severity in ("info", "not_checked", "warning", "blocking")]
    findings += [found("info", number) for number in (1, 1, 1, 2, 3, 4, 5, 6, 7)]
    answer = brief.fitted({}, code=3, findings=findings)
    assert [each["message"] for each in answer["errors"]] == ["Message 0."]
    assert [each["severity"] for each in answer["findings"]][:3] == ["warning", "not_checked", "info"]
    assert len(answer["errors"]) + len(answer["findings"]) == 10
    assert answer["more"] == {"code_5": 1, "code_6": 1, "code_7": 1}
    assert "--full" in answer["note"]


def test_an_answer_with_room_shortens_nothing_and_says_no_word_of_it() -> None:
    fix = "Write it: " + "x" * 400
    answer = brief.fitted({"changed": {"a.b": 1}}, findings=[found("warning", fix=fix)], following=["tao-skills jobs"])
    assert answer["findings"][0]["fix"] == fix
    assert not {"note", "more"} & answer.keys()
    assert answer["next"] == ["tao-skills jobs"]


def test_keys_without_room_are_counted() -> None:
    keys = {f"{'x' * 500}{number}": number for number in range(6)} | {f"key{number}": 1 for number in range(60)}
    shown = brief.fitted({"changed": keys})["changed"]
    assert list(shown.values())[-1] == f"{66 - (len(shown) - 1)} more keys"


def test_overrides_to_paste_are_whole_or_left_out() -> None:
    short, long = {"a.b": 4}, {"a.b": "x" * 5000}
    answer = brief.fitted({}, code=3, findings=[found("blocking", fix_set=short), found("blocking", fix_set=long)])
    assert [each.get("fix_set") for each in answer["errors"]] == [short, None]


def test_a_command_without_room_ends_in_dots_instead_of_in_the_middle() -> None:
    answer = brief.fitted({}, following=[f"tao-skills run SKILL train --say '{'please ' * 1000}'"])
    assert answer["next"] == ["tao-skills run SKILL train ..."]


def test_a_secret_is_masked_before_it_could_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    value = secrets.token_hex(40)
    monkeypatch.setenv("MY_API_KEY", value)
    text = "x" * 440 + value
    answer = brief.fitted({"changed": {"a": text}}, findings=[found("warning", message=text)])
    assert value[:8] not in json.dumps(answer)


# --- plans ---


@pytest.fixture
def sealed(tmp_path):
    """A plan of a template with two changed keys, one deleted, and its run directory."""
    spec = catalog.find("cosmos-rl").schema("train")["default"]
    spec = nested.with_value(spec, "train.epoch", 3)
    spec = nested.with_value(spec, "policy.model_name_or_path", "builtin://tiny-cosmos-reason")
    spec = nested.with_value(nested.without(spec, "policy.lora.r"), "train.output_dir", str(tmp_path / "run"))
    platform = PlatformRequest(options={"device": "cpu"})
    return make_plan(make_job(tmp_path / "run", spec=spec, platform=platform))


def test_a_plan_shows_the_keys_that_differ_from_the_template(sealed) -> None:
    answer = brief.of_plan(sealed, 0, [], written=True)
    assert answer["changed"] == {
        "train.epoch": 3,
        "policy.model_name_or_path": "builtin://tiny-cosmos-reason",
        "policy.lora.r": None,
    }
    assert (answer["results_dir"], answer["platform"]["options"]) == (sealed.job.results_dir, {"device": "cpu"})
    assert not {"spec", "argv", "files", "study"} & answer.keys()


def test_a_job_id_is_shown_only_where_the_plan_is_written(sealed) -> None:
    job = replace(sealed.job, results_dir=f"/results/{sealed.job.id}")
    finding = found("info", message=f"Results go to {job.results_dir}.", path=job.results_dir)
    planned = replace(sealed, job=job, findings=(finding,))
    assert brief.of_plan(planned, 0, [], written=True)["job_id"] == job.id
    unwritten = brief.of_plan(planned, 0, [], written=False)
    assert job.id not in json.dumps(unwritten)
    assert unwritten["results_dir"] == "/results/<job id>"


def test_steps_are_a_field_instead_of_a_finding_unless_they_block(sealed) -> None:
    steps = {"steps_per_epoch": 3, "total_steps": 9}
    planned = replace(sealed, findings=(Finding("steps", "info", "3 steps per epoch.", evidence=steps),))
    answer = brief.of_plan(planned, 0, [], written=False)
    assert (answer["steps"], answer["findings"]) == (steps, [])
    planned = replace(sealed, findings=(Finding("steps", "blocking", "No step.", "Lower the batch."),))
    answer = brief.of_plan(planned, 3, [], written=False)
    assert ("steps" in answer, answer["errors"][0]["code"]) == (False, "steps")


# --- formats ---


UNREAD = Options(None, None)  # the options of a request that cannot be read


def test_an_error_is_one_brief_document_where_documents_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [Problem(f"code_{number % 2}", "No.", "Yes.") for number in range(25)]
    with pytest.raises(typer.Exit) as ended, brief.failures(UNREAD, as_json=True, full=False):
        raise RequestError(problems)
    answer = json.loads(capsys.readouterr().out)
    assert (ended.value.exit_code, answer["code"], len(answer["errors"])) == (2, 2, 10)
    assert answer["more"] == {"code_0": 8, "code_1": 7}


@pytest.mark.parametrize(("as_json", "full"), [(False, False), (True, True)])
def test_an_error_is_whole_for_people_and_on_request(*, as_json: bool, full: bool) -> None:
    with pytest.raises(RequestError), brief.failures(UNREAD, as_json=as_json, full=full):
        raise RequestError([Problem("code", "No.", "Yes.")])


def test_agents_get_each_fact_on_one_line(sealed, capsys: pytest.CaptureFixture[str]) -> None:
    problem = found("blocking", message="Too\nlong.", path="train.x", fix="Lower it.", fix_set={"train.x": "off"})
    answer = brief.of_plan(replace(sealed, findings=(problem,)), 3, [], written=False)
    with formats.using(formats.Format.AGENT):
        brief.print_brief(answer)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "code: 3"
    assert "error code_0 train.x: Too\\nlong. fix: Lower it." in lines
    assert "set: --set train.x=off" in lines
    assert lines[lines.index("changed:") + 1] == " train.epoch=3"
    assert not any("null" in line and "lora" not in line for line in lines)


@settings(max_examples=20, deadline=None)
@given(facts=FACTS, findings=st.lists(FINDINGS, max_size=5))
def test_no_text_of_a_request_can_make_a_line_of_its_own(facts, findings) -> None:
    answer = brief.fitted(facts, findings=findings)
    assert all(len(line.splitlines()) <= 1 for line in agent_text.lines(answer))
