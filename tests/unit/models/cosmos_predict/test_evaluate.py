"""The evaluate program on rendered videos, with a stub endpoint and the real tiny model as judges."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

pytest.importorskip("torch")
pytest.importorskip("cv2")
pytest.importorskip("av")
pytest.importorskip("matplotlib")

import cv2
import scenes
import torch
from chat_server import question_of, serving

from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_predict import evaluate, video_frames
from tao_skill_bank.models.cosmos_predict.config import EvaluateConfig
from tao_skill_bank.models.cosmos_reason import builtin
from tao_skill_bank.report import write_report
from tao_skill_bank.runs import results
from tao_skill_bank.runs.run_directory import RunDirectory
from tao_skill_bank.training import distributed, entrypoint
from tao_skill_bank.training.config import load_spec

Document = dict[str, Any]
PROMPTS = {"pick": "Pick up the red cup with the left hand.", "push": "Push the box."}
WOBBLE = {"base": 4, "lora": 0}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a run directory of generate: base and lora, two prompts; base's "push" is frozen."""
    folder = tmp_path_factory.mktemp("generate")
    frames, entries = scenes.flight(4), []
    for variant, pixels in WOBBLE.items():
        for name, prompt in PROMPTS.items():
            output = f"videos/{variant}/{name}_seed0.mp4"
            frozen = (variant, name) == ("base", "push")
            scenes.write_clip(folder / output, frames[:1] * 4 if frozen else scenes.wobble(frames, pixels))
            entries.append({"name": name, "variant": variant, "seed": 0, "prompt": prompt, "output": output})
    (folder / "results.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture
def generated(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "generated"))


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., int]:
    """Run evaluate in this process, as one rank; returns the exit code. The run directory is `out`."""

    def start(document: Document) -> int:
        try:
            return entrypoint.run(_spec(document, tmp_path), evaluate.evaluate, tmp_path / "out")
        finally:
            distributed.stop()

    return start


def _spec(document: Document, tmp_path: Path) -> EvaluateConfig:
    file = tmp_path / "spec.toml"
    file.write_text(tomli_w.dumps(document))
    return load_spec(EvaluateConfig, file)


def _document(generated: Path, **changes: Any) -> Document:
    sampson = {"max_pairs": 2, "max_features": 400}
    return {"generated_dir": str(generated), "metrics": ["sampson"], "sampson": sampson} | changes


def _judged(url: str, **judge: Any) -> Document:
    judge = {"endpoint": url, "endpoint_model": "judge-1", "num_frames": 2} | judge
    return {"metrics": ["judge_physics", "judge_instruction"], "judge": judge}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _status(folder: Path) -> list[Document]:
    return [json.loads(line) for line in (folder / "status.jsonl").read_text().splitlines()]


def _failure(tmp_path: Path) -> Document:
    last = _status(tmp_path / "out")[-1]
    assert last["state"] == "FAILURE"
    found: Document = last["diagnosis"]
    return found


# --- what is written ----------------------------------------------------------------------------------------------


def test_a_limit_measures_some_names_of_every_variant(generated: Path, run: Callable[..., int], tmp_path: Path) -> None:
    assert run(_document(generated, limit=1)) == 0
    entries = _read(tmp_path / "out" / "results.json")
    assert [entry["variant"] for entry in entries] == ["base", "lora"]
    assert len({entry["name"] for entry in entries}) == 1
    summary = _read(tmp_path / "out" / "metrics_summary.json")
    assert (summary["num_samples"], summary["num_records"]) == (2, 2)
    assert [finding["code"] for finding in summary["findings"]] == ["subset"]
    assert _status(tmp_path / "out")[-1]["message"].endswith("on 2 videos of 1 of 2 names (a subset).")


@pytest.mark.slow
def test_base_and_adapter_are_compared(generated: Path, run: Callable[..., int], tmp_path: Path) -> None:
    def reply(body: Document) -> str:
        asks_for_action = "Pick" in question_of(body) or "Push" in question_of(body)
        return json.dumps({"reason": "so", "score": 4 - body["seed"] // 1000 if asks_for_action else 5})

    with serving(reply) as server:
        document = _document(generated) | _judged(server.url) | {"seeds": [0, 1]}
        assert run(document | {"metrics": ["sampson", "judge_physics", "judge_instruction"]}) == 0
    out = tmp_path / "out"
    entries = _read(out / "results.json")
    assert [(entry["variant"], entry["name"], entry["seed"]) for entry in entries] == [
        ("base", "pick", 0), ("base", "push", 0), ("lora", "pick", 0), ("lora", "push", 0),
    ]  # fmt: skip
    assert entries[0]["video"] == "videos/base/pick_seed0.mp4"
    assert entries[0]["sampson"]["mean"] > 2 * entries[2]["sampson"]["mean"]
    assert entries[2]["sampson"] | {"band": "excellent", "pairs": 2, "reason": ""} == entries[2]["sampson"]
    assert entries[1]["sampson"]["mean"] is None
    assert "static points" in entries[1]["sampson"]["reason"]
    instruction = entries[0]["judge_instruction"]
    assert [answer["score"] for answer in instruction["answers"]] == [4, 3]
    assert (instruction["mean"], round(instruction["std"], 4)) == (3.5, 0.7071)
    assert entries[0]["cross_view"] is None

    summary = _read(out / "metrics_summary.json")
    assert summary["num_samples"] == 4
    assert summary["metrics"]["judge_physics/base"] == 5
    assert summary["metrics"]["judge_instruction/lora"] == 3.5
    cell = summary["variants"]["base"]["sampson"]
    assert (cell["n"], cell["not_measured"]) == (1, 1)
    assert summary["variants"]["lora"]["judge_instruction"]["seed_std"] == pytest.approx(0.7071, abs=1e-4)
    with (out / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["base", "lora"]
    assert (rows[0]["sampson_n"], rows[0]["sampson_not_measured"], rows[0]["judge_physics_mean"]) == ("1", "1", "5.0")
    table = (out / "comparison.md").read_text().splitlines()
    assert len(table) == 4
    assert "(n = 1, 1 not measured, " in table[2]
    assert (out / "comparison.png").stat().st_size > 10_000
    states = _status(out)
    assert [line["message"] for line in states if line["state"] == "RUNNING"][-1] == "4 of 4 videos measured"
    assert states[-1]["message"] == "Compared 2 variants on 4 videos."


@pytest.mark.slow
def test_the_report_shows_the_comparison(generated: Path, run: Callable[..., int], tmp_path: Path) -> None:
    assert run(_document(generated)) == 0
    result = results.read(RunDirectory(tmp_path / "out"))
    assert result.artifacts["comparison"] == "comparison.png"
    assert set(result.metrics) == {"sampson/base", "sampson/lora"}
    page = write_report({"": RunDirectory(tmp_path / "out")}, tmp_path / "report.html").read_text()
    assert 'src="data:image/png;base64,' in page
    headline = page.split('class="headline"')[1].split("</header>")[0]
    assert headline.count("<small> px</small>") == 2
    assert "%" not in headline
    assert "sampson · lora" in headline
    assert "<h2>Samples</h2>" not in page


@pytest.mark.slow
def test_reference_clips_of_the_same_names_are_a_variant(
    generated: Path, run: Callable[..., int], tmp_path: Path
) -> None:
    scenes.write_clip(tmp_path / "real" / "videos" / "pick.mp4", scenes.flight(4))
    scenes.write_clip(tmp_path / "real" / "videos" / "other.mp4", scenes.flight(2))
    assert run(_document(generated, reference_dir=str(tmp_path / "real"))) == 0
    last = _read(tmp_path / "out" / "results.json")[-1]
    assert (last["variant"], last["name"], last["prompt"]) == ("reference", "pick", PROMPTS["pick"])
    assert last["sampson"]["band"] == "excellent"
    assert len(_read(tmp_path / "out" / "results.json")) == 5


@pytest.mark.slow
def test_views_of_a_scene_are_compared_across(run: Callable[..., int], tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    for view in range(2):
        scenes.write_clip(folder / f"desk__view{view}.mp4", scenes.flight(3, view=0.4 * view))
    assert run(_document(folder)) == 0
    first, second = _read(tmp_path / "out" / "results.json")
    assert (first["variant"], first["name"], first["seed"]) == ("plain", "desk__view0", None)
    assert first["cross_view"] | {"band": "excellent", "pairs": 2} == first["cross_view"]
    assert second["cross_view"] is None
    assert _read(tmp_path / "out" / "metrics_summary.json")["metrics"]["cross_view/plain"] < 1


@pytest.mark.slow
def test_without_a_prompt_only_physics_is_judged(run: Callable[..., int], tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    scenes.write_clip(folder / "base" / "pick_seed3.mp4", scenes.flight(2))
    scenes.write_clip(folder / "alpha" / "pick_seed3.mp4", scenes.flight(2))
    (folder / "alpha" / "pick.txt").write_text("Pick up the cup.\n")
    with serving(lambda _: "Score: 2") as server:
        assert run(_document(folder) | _judged(server.url)) == 0
    base, alpha = _read(tmp_path / "out" / "results.json")
    assert (base["variant"], base["seed"], alpha["prompt"]) == ("base", 3, "Pick up the cup.")
    assert base["judge_physics"]["mean"] == alpha["judge_instruction"]["mean"] == 2
    assert base["judge_instruction"]["mean"] is None
    summary = _read(tmp_path / "out" / "metrics_summary.json")
    assert "prompt is unknown" in summary["not_computed"]["judge_instruction/base"]


# --- going on where it was ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_was_measured_is_not_measured_again(generated: Path, run: Callable[..., int], tmp_path: Path) -> None:
    with serving(lambda _: "Score: 4") as server:
        document = _document(generated) | _judged(server.url)
        assert run(document) == 0
        asked = len(server.requests)
        assert asked == 1 + 4 * 2  # one to see that the server is there
        scenes.write_clip(generated / "videos" / "lora" / "push_seed0.mp4", scenes.flight(3))
        assert run(document) == 0
        assert len(server.requests) == asked + 1 + 2
        assert run(document | {"seeds": [5]}) == 0
        assert len(server.requests) == asked + 3 + 9
    assert len(list((tmp_path / "out" / "scores").iterdir())) == 4 + 1 + 4


def test_a_server_that_stops_midway_costs_nothing_that_was_measured(
    generated: Path, run: Callable[..., int], tmp_path: Path
) -> None:
    replies = iter(["ready", "Score: 4", "Score: 4", (401, b"expired", {}), "ready", *["Score: 1"] * 6])
    with serving(lambda _: next(replies)) as server:
        assert run(_document(generated) | _judged(server.url)) == 4
        assert _failure(tmp_path)["code"] == "endpoint_key"
        assert run(_document(generated) | _judged(server.url)) == 0
    means = [entry["judge_physics"]["mean"] for entry in _read(tmp_path / "out" / "results.json")]
    assert means == [4, 1, 1, 1]


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_number_of_processes(
    generated: Path, run: Callable[..., int], tmp_path: Path
) -> None:
    assert run(_document(generated)) == 0
    _spec(_document(generated, results_dir=str(tmp_path / "two"), num_gpus=2), tmp_path)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]
    command += ["tao_skill_bank.models.cosmos_predict.evaluate", "--config", str(tmp_path / "spec.toml")]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for name in ("results.json", "metrics_summary.json", "comparison.md"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


# --- the tiny model as judge --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_model_that_states_no_score_is_unparsed_and_never_a_three(
    generated: Path, run: Callable[..., int], tmp_path: Path
) -> None:
    tiny = tmp_path / "tiny"
    builtin.create("tiny-cosmos-reason", tiny)
    judge = {"model": str(tiny), "num_frames": 8, "total_pixels": 16384, "max_tokens": 5, "max_retries": 1}
    assert run(_document(generated, metrics=["judge_physics"], judge=judge, seeds=[0, 1])) == 0
    for entry in _read(tmp_path / "out" / "results.json"):
        verdict = entry["judge_physics"]
        assert (verdict["mean"], verdict["unparsed"]) == (None, 2)
        assert [(answer["score"], answer["attempts"]) for answer in verdict["answers"]] == [(None, 2)] * 2
        assert any(answer["text"] for answer in verdict["answers"])
    summary = _read(tmp_path / "out" / "metrics_summary.json")
    assert summary["metrics"] == {"judge_physics/base": None, "judge_physics/lora": None}
    assert "No reply of the judge" in summary["not_computed"]["judge_physics/base"]
    assert (tmp_path / "out" / "comparison.png").is_file()


# --- mistakes -----------------------------------------------------------------------------------------------------


def test_every_broken_video_is_named_before_the_judge_is_opened(
    generated: Path, run: Callable[..., int], tmp_path: Path
) -> None:
    for variant in WOBBLE:
        (generated / "videos" / variant / "push_seed0.mp4").write_bytes(b"no video")
    judge = {"model": str(generated)}  # an error of the judge would come later
    assert run(_document(generated, metrics=["judge_physics"], judge=judge)) == 3
    failure = _failure(tmp_path)
    assert failure["code"] == "media_unreadable"
    assert all(f"{variant}/push_seed0.mp4" in failure["cause"] for variant in WOBBLE)


def test_a_video_that_breaks_while_it_is_decoded_is_not_measured_and_says_so(
    generated: Path, run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = video_frames.read

    def read(path: Path, *rest: Any) -> Any:
        if path.parent.name == "lora" and path.stem.startswith("pick"):
            raise BlockedError.of("media_unreadable", f"The video {path} cannot be read: it ends.", "Replace it.")
        return decode(path, *rest)

    monkeypatch.setattr(video_frames, "read", read)
    assert run(_document(generated)) == 0
    entries = _read(tmp_path / "out" / "results.json")
    assert [entry["sampson"]["mean"] is None for entry in entries] == [False, True, True, False]
    assert "cannot be read" in entries[2]["sampson"]["reason"]


def _with_results(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "results.json").write_text(text) and None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (shutil.rmtree, "input_missing"),
        (lambda folder: (shutil.rmtree(folder), folder.mkdir()), "no_videos"),
        (_with_results("{"), "bad_results"),
        (_with_results('[{"video_id": "a", "response": "b"}]'), "bad_results"),
        (_with_results("[1]"), "bad_results"),
        (_with_results("[]"), "no_videos"),
        (lambda folder: shutil.rmtree(folder / "videos" / "lora"), "missing_video"),
    ],
)
def test_a_folder_without_usable_videos_is_one_clear_error(
    spoil: Callable[[Path], None], code: str, generated: Path, run: Callable[..., int], tmp_path: Path
) -> None:
    spoil(generated)
    assert run(_document(generated)) in (3, 5)
    assert _failure(tmp_path)["code"] == code


def test_reference_clips_that_fit_nothing_are_an_error(
    generated: Path, run: Callable[..., int], tmp_path: Path
) -> None:
    scenes.write_clip(tmp_path / "real" / "other.mp4", scenes.flight(2))
    assert run(_document(generated, reference_dir=str(tmp_path / "real"))) == 3
    assert _failure(tmp_path)["code"] == "no_reference"
    (generated / "results.json").unlink()
    (generated / "videos" / "lora").rename(generated / "videos" / "reference")
    assert run(_document(generated, reference_dir=str(tmp_path / "real"))) == 3
    assert _failure(tmp_path)["code"] == "variant_name"


def test_a_judge_that_cannot_be_had_is_an_error(generated: Path, run: Callable[..., int], tmp_path: Path) -> None:
    for name, code in (("/nowhere", "checkpoint_missing"), (str(generated), "no_checkpoint")):
        assert run(_document(generated, metrics=["judge_physics"], judge={"model": name})) == 5
        assert _failure(tmp_path)["code"] == code


@pytest.mark.parametrize("module", ["cv2", "matplotlib", "av"])
def test_a_missing_library_is_named_at_once(
    module: str, generated: Path, run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    assert run(_document(generated)) == 3
    failure = _failure(tmp_path)
    assert (failure["code"], failure["cure"]) == ("missing_extra", "pip install 'tao-skill-bank[predict]'")
