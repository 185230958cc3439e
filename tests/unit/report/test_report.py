import base64
import io
import json
import re
import sys
from html.parser import HTMLParser

import pytest
from report_runs import make_clip, make_demo, make_evaluation, make_training, write

from tao_skill_bank.data.media import clip_frames
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.report import charts, samples, views, write_report
from tao_skill_bank.runs.run_directory import RunDirectory


class Page(HTMLParser):
    """Collects the tags, addresses and text of a page."""

    def __init__(self, path):
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags, self.addresses, self.text = [], [], ""
        self.feed(self.html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def demo_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def demo(demo_folder):
    return make_demo(demo_folder)


@pytest.fixture(scope="module")
def page(demo, demo_folder):
    return Page(write_report(demo, demo_folder / "report.html"))


# --- the page -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_page_needs_nothing_from_outside(page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not re.search(r"url\((?!#)|@import", page.html)


def test_the_page_tells_every_run_its_state_route_and_plan(page, demo):
    for text in (
        *demo,
        "COMPLETE",
        "builtin://tiny-cosmos-reason",
        "plain training was asked for",
        demo["training"].plan_document()["sha256"][:16],
        "41.5 s",
    ):
        assert text in page.text


def test_the_page_shows_findings_with_their_fix(page):
    assert "The run has 38 steps only." in page.text
    assert "Raise train.epoch to 3 or more." in page.text
    assert page.text.count("The run has 38 steps only.") == 1


def test_the_page_compares_the_evaluations(page):
    assert re.search(r"accuracy\s*0\.4167\s*0\.9167\s*\+0\.5", page.text)
    assert "needs a model of 3 GB" in page.text


def test_the_page_shows_both_confusion_matrices_without_truths_that_never_occur(page):
    matrices = page.html.split('class="matrix"')[1:]
    assert len(matrices) == 2
    assert all(table.split("</table>")[0].count('<th scope="row">') == 3 for table in matrices)


def test_the_page_draws_loss_and_learning_rate_in_its_own_colours(page):
    assert page.html.count("<svg") == 2
    assert "var(--series-2)" in page.html
    assert "#01020" not in page.html


def test_the_page_gives_the_commands_and_the_spec(page, demo):
    assert f"tao-skills run --request {demo['training'].request_file}" in page.text
    assert "epoch: 1" in page.text


def test_pictures_lie_beside_the_page(page, demo_folder):
    names = {path.name for path in demo_folder.glob("report-*.png")}
    assert names == {"report-confusion_matrices.png", "report-loss-training.png"}
    assert all((demo_folder / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_a_comparison_of_variants_is_shown_with_its_picture_and_units(tmp_path):
    run = RunDirectory(tmp_path / "run")
    metrics = {"sampson/base": 0.84, "sampson/lora": None, "sampson/dora": 0.5, "judge/base": 3}
    summary = {"metrics": metrics, "units": {"sampson/base": "px", "sampson/dora": "px"}, "num_samples": 6}
    write(run.path / "metrics_summary.json", summary)
    write(run.path / "results.json", [{"name": "pick", "variant": "base", "sampson": {"mean": 0.84}}])
    (run.path / "comparison.png").write_bytes(b"\x89PNG picture")
    seen = views.read("evaluation", run)
    assert views.headline([seen]) == views.Headline("sampson", (("base", 0.84), ("dora", 0.5)), "px")
    shown = Page(write_report({"evaluation": run}, tmp_path / "report.html"))
    assert "data:image/png;base64," + base64.b64encode(b"\x89PNG picture").decode() in shown.addresses
    assert re.search(r"0\.84\s*px", shown.text)
    assert "84.0" not in shown.text
    assert "Samples" not in shown.text


def test_what_runs_say_is_escaped(tmp_path):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    run = make_evaluation(tmp_path / evil.replace("/", "_"), tmp_path / "data", lambda _: True, question=evil)
    failure = {"time": 1, "state": "FAILURE", "message": evil, "diagnosis": {"cause": evil, "cure": evil}}
    write(run.status_file, failure)
    request = {"skill": evil, "prompt": "</code></pre>" + evil}
    write(run.request_file, request)
    shown = Page(write_report({evil: run}, tmp_path / "report.html"))
    assert "script" not in shown.tags
    assert evil in shown.text
    assert "x" not in shown.addresses


def test_one_run_alone_makes_a_page(tmp_path):
    shown = Page(write_report({"": make_training(tmp_path / "run", tmp_path)}, tmp_path / "report.html"))
    assert "train" in shown.text
    assert "Confusion" not in shown.text
    assert "Samples" not in shown.text


def test_an_empty_run_directory_makes_a_page(tmp_path):
    shown = Page(write_report({"": RunDirectory(tmp_path / "nothing")}, tmp_path / "report.html"))
    assert "UNKNOWN" in shown.text
    assert "The run directory holds no plan or request" in shown.text


def test_a_run_that_was_killed_midway_makes_a_page(tmp_path):
    run = make_training(tmp_path / "run", tmp_path)
    for path in (run.status_file, run.metrics_file, run.plan_file, run.request_file):
        text = path.read_text()
        path.write_text(text[: len(text) * 2 // 3])
    assert "UNKNOWN" in Page(write_report({"": run}, tmp_path / "report.html")).text


def test_without_matplotlib_the_page_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    shown = Page(write_report({"": make_training(tmp_path / "run", tmp_path)}, tmp_path / "report.html"))
    assert "pip install 'tao-skill-bank[train]'" in shown.text
    assert "<svg" not in shown.html


def test_a_page_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BlockedError, match="cannot be written"):
        write_report({"": RunDirectory(tmp_path)}, tmp_path / "file" / "report.html")


# --- samples ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gallery(demo):
    return samples.gallery([views.read(role, run) for role, run in demo.items()])


def test_samples_mix_right_and_wrong_answers_of_every_truth(gallery):
    verdicts = [sample.answers[-1].is_right for sample in gallery]
    assert (verdicts.count(False), verdicts.count(True)) == (2, 4)
    assert {sample.truth for sample in gallery} == {"left", "right", "straight"}


def test_samples_are_the_same_every_time(demo, gallery):
    assert samples.gallery([views.read(role, run) for role, run in demo.items()]) == gallery


def test_samples_carry_the_answers_before_and_after(gallery):
    assert all(
        [answer.run for answer in sample.answers] == ["base evaluation", "tuned evaluation"] for sample in gallery
    )


def test_frames_are_the_first_the_middle_and_the_last(gallery):
    from PIL import Image

    moving = next(sample for sample in gallery if sample.truth == "right")
    columns = []
    for uri in moving.frames:
        image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))
        row = [image.getpixel((x, image.height // 2)) for x in range(image.width)]
        columns.append(next(x for x, (red, _, blue) in enumerate(row) if red > 180 and blue < 120) * 64 / image.width)
    assert columns == pytest.approx([26, 38, 47], abs=2)


def test_a_verdict_of_the_evaluator_wins_over_the_words(tmp_path):
    run = make_evaluation(tmp_path / "run", tmp_path / "data", lambda position: position != 0)
    write(run.path / "samples" / "0.json", {"correct": True})
    write(run.path / "samples" / "1.json", {"correct": False})
    chosen = samples.gallery([views.read("", run)])
    assert [sample.media for sample in chosen if not sample.answers[0].is_right] == ["clips/001.mp4"]


def test_verdicts_of_a_shard_are_found_by_annotation_index(tmp_path):
    run = make_evaluation(tmp_path / "run", tmp_path / "data", lambda position: position != 0)
    plan = json.loads(run.plan_file.read_text())
    plan["job"]["spec"] = {"evaluation": {"total_shard": 4, "shard_id": 1}}
    write(run.plan_file, plan)
    answers = json.loads((run.path / "results.json").read_text())
    write(run.path / "samples" / "1.json", answers[0] | {"correct": True})
    write(run.path / "samples" / "5.json", answers[1] | {"correct": False})
    write(run.path / "samples" / "9.json", answers[2] | {"correct": False, "response": "of an earlier run"})
    chosen = samples.gallery([views.read("", run)])
    assert [sample.media for sample in chosen if not sample.answers[0].is_right] == ["clips/001.mp4"]


def test_a_run_of_a_version_1_plan_shows_its_data_and_its_frames(tmp_path):
    run = make_evaluation(tmp_path / "run", tmp_path / "data", lambda _: True)
    plan = json.loads(run.plan_file.read_text())
    (given,) = plan["job"]["workload"].pop("inputs")
    plan["schema_version"] = 1
    plan["job"]["workload"]["datasets"] = [{"role": given["role"], **given["paths"]}]
    write(run.plan_file, plan)
    view = views.read("", run)
    assert [(each.label, each.shown) for each in view.inputs] == [("eval data", f"{tmp_path}/data/annotations.json")]
    assert len(samples.gallery([view])[0].frames) == 3


def test_an_input_of_a_kind_that_is_not_known_here_is_shown_by_its_paths(tmp_path):
    run = make_evaluation(tmp_path / "run", tmp_path / "data", lambda _: True)
    plan = json.loads(run.plan_file.read_text())
    plan["job"]["workload"]["inputs"] = [{"role": "eval", "kind": "radar", "paths": {"a": "/one", "b": "/two"}}, 3]
    write(run.plan_file, plan)
    assert [(each.label, each.shown) for each in views.read("", run).inputs] == [("eval", "/one, /two")]


@pytest.mark.parametrize("content", [b"", b"no video at all"])
def test_a_broken_clip_is_told_not_raised(tmp_path, content):
    run = make_evaluation(tmp_path / "run", tmp_path / "data", lambda _: True)
    (tmp_path / "data" / "clips" / "000.mp4").write_bytes(content)
    first = samples.gallery([views.read("", run)])[0]
    assert first.frames == ()
    assert "cannot be shown" in first.no_frames_because


def test_media_that_are_not_here_are_reported(tmp_path):
    run = make_evaluation(tmp_path / "run", tmp_path / "data", lambda _: True)
    (tmp_path / "data" / "clips" / "000.mp4").unlink()
    assert "not on this machine" in samples.gallery([views.read("", run)])[0].no_frames_because


def test_without_a_decoder_samples_say_what_to_install(demo, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    shown = samples.gallery([views.read("", demo["tuned evaluation"])])
    assert all("pip install" in sample.no_frames_because for sample in shown)


def test_a_clip_is_shown_by_its_first_middle_and_last_frame(tmp_path):
    make_clip(tmp_path / "long.mp4", step=1, num_frames=60)
    shown = samples._pictures(tmp_path / "long.mp4")
    assert len(shown) == 3
    for frame, position in zip(shown, (0, 30, 59), strict=True):
        assert (frame == clip_frames.read(tmp_path / "long.mp4", [position])[position]).all()


# --- charts and numbers -------------------------------------------------------------------------------------------


def test_a_long_curve_is_drawn_thinned_with_its_extremes_and_says_so(tmp_path):
    values = [2.0 - step / 10_000 for step in range(10_000)]
    values[4321], values[4322] = 55.5, -7.5
    lines = [json.dumps({"step": step, "train/loss_avg": value}) for step, value in enumerate(values)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    run = views.read("", RunDirectory(tmp_path))
    curve = run.curves["train_loss"]
    assert len(curve.steps) <= views.MAX_CURVE_POINTS
    assert (curve.steps[0], curve.steps[-1], max(curve.values), min(curve.values)) == (0, 9_999, 55.5, -7.5)
    assert run.result.losses == {"train_loss_first": 2.0, "train_loss_last": values[-1], "train_loss_lowest": -7.5}
    (chart,) = charts.of_training("a", run.curves)
    assert f"{len(curve.steps):,} of 10,000 points drawn" in chart.svg


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.98958, "0.9896"), (24, "24"), (True, "True"), (24.0, "24"), (1.5e-05, "1.5e-05"), ("x", "x")],
)
def test_numbers_have_four_significant_digits(value, text):
    assert views.number_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (4.25, "4.2 s"), (59.96, "1 min 0 s"), (125, "2 min 5 s"), (7500, "2 h 5 min")]
)
def test_durations_are_read_by_people(seconds, text):
    assert views.duration_text(seconds) == text
