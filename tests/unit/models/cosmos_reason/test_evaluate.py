"""Evaluation, inference and export with the real tiny model."""

import copy
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tao_skill_bank.core import subset
from tao_skill_bank.models.cosmos_reason import builtin, data
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import question_and_answer
from tao_skill_bank.models.cosmos_reason.loader import Padding, collate, to_device
from tao_skill_bank.models.cosmos_reason.processor import Processor

from .conftest import Document, diagnosis, read_lines

Run = Callable[[str, Document], int]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _taken(clips: Path, limit: int) -> list[int]:
    """Return the records of the test set that a limit takes."""
    return subset.chosen([record["id"] for record in _read(clips / "test" / "annotations.json")], limit)


@pytest.mark.slow
def test_the_builtin_model_answers_in_the_right_form_at_chance_level(
    evaluate_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    assert run_program("evaluate", evaluate_spec) == 0
    out = tmp_path / "evaluation"
    results = _read(out / "results.json")
    records = _read(clips / "test" / "annotations.json")
    keys = ["video_id", "question", "response", "gt", "verdict", "read_as", "hit_max_tokens", "id"]
    assert [list(result) for result in results] == [keys] * 9
    assert [result["id"] for result in results] == [record["id"] for record in records]
    assert [result["video_id"] for result in results] == [record["video"] for record in records]
    assert [result["gt"] for result in results] == [record["conversations"][1]["value"] for record in records]
    assert all((clips / "test" / result["video_id"]).is_file() for result in results)
    assert "<video>" not in results[0]["question"]
    summary = _read(out / "metrics_summary.json")
    assert summary["metrics"]["unparseable"] == 0
    assert summary["metrics"]["accuracy"] <= 5 / 9
    assert summary["num_samples"] == sum(map(sum, summary["confusion_matrix"]["matrix"])) == 9
    assert (out / "confusion_matrix.png").stat().st_size > 5000
    assert len(list((out / "samples").glob("*.json"))) == 9
    assert read_lines(out / "status.jsonl")[-1]["state"] == "SUCCESS"


def test_answers_in_a_batch_are_those_of_single_questions(tiny_model: Path, processor: Processor, clips: Path) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    network = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)).eval()
    annotations = data.read_annotations(str(clips / "test" / "annotations.json"))
    for index, words in enumerate(("Go?", "Which way does it go, left or right?", "Left, right?")):
        annotations[index]["conversations"][0]["value"] = words
    shown = data.Presentation(VideoSampling(nframes=4), 1000)
    records = data.Records(annotations[:3], str(clips / "test"), processor, shown)
    prompts = [question_and_answer(records.conversation(index))[0] for index in range(3)]
    samples = [processor.encode(p, records.frames(p), max_length=1000, answer=True) for p in prompts]
    cpu, left = torch.device("cpu"), Padding(processor, side="left")
    with torch.no_grad():
        together = network(**to_device(collate(samples, left), cpu, processor).inputs).logits[:, -1]
        alone = [network(**to_device(collate([s], left), cpu, processor).inputs).logits[0, -1] for s in samples]
    assert len({len(sample.input_ids) for sample in samples}) == 3
    assert torch.allclose(together, torch.stack(alone), atol=1e-4)


@pytest.mark.slow
def test_limit_shards_and_saved_answers_choose_what_is_asked(
    evaluate_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    evaluate_spec["evaluation"] |= {"limit": 5, "total_shard": 2, "shard_id": 1}
    assert run_program("evaluate", evaluate_spec) == 0
    samples = tmp_path / "evaluation" / "samples"
    asked = _taken(clips, 5)[1::2]
    assert sorted(path.name for path in samples.iterdir()) == [f"{index}.json" for index in asked]
    summary = _read(tmp_path / "evaluation" / "metrics_summary.json")
    assert (summary["num_samples"], summary["num_records"]) == (2, 9)
    assert [finding["evidence"] for finding in summary["findings"] if finding["code"] == "subset"] == [
        {"taken": 5, "records": 9}
    ]
    last = read_lines(tmp_path / "evaluation" / "status.jsonl")[-1]
    assert last["message"].startswith("Evaluated 2 samples of 2 of 9 records (a subset): accuracy")
    first = samples / f"{asked[0]}.json"
    kept = _read(first) | {"response": "saved before"}
    first.write_text(json.dumps(kept | {"correct": False}))
    evaluate_spec["evaluation"]["skip_saved"] = True
    assert run_program("evaluate", evaluate_spec) == 0
    assert _read(tmp_path / "evaluation" / "results.json")[0]["response"] == "saved before"
    first.write_text(json.dumps(kept | {"correct": False, "model": "another"}))
    assert run_program("evaluate", evaluate_spec) == 0
    assert _read(tmp_path / "evaluation" / "results.json")[0]["response"] != "saved before"


def test_choices_are_scored_with_confidence(evaluate_spec: Document, run_program: Run, tmp_path: Path) -> None:
    evaluate_spec["evaluation"] |= {"scoring": "choices"}
    assert run_program("evaluate", evaluate_spec) == 0
    out = tmp_path / "evaluation"
    results = _read(out / "results.json")
    for result in results:
        assert set(result["probabilities"]) == set(result["log_likelihoods"]) == {"left", "right", "straight"}
        assert sum(result["probabilities"].values()) == pytest.approx(1.0)
        assert result["confidence"] == max(result["probabilities"].values())
        assert result["probabilities"][result["response"]] == result["confidence"]
    summary = _read(out / "metrics_summary.json")
    assert sum(each["count"] for each in summary["calibration"]["bins"]) == 9
    assert 0 <= summary["metrics"]["ece"] <= 1
    assert (summary["metrics"]["unparseable"], summary["metrics"]["hit_max_tokens"]) == (0, 0)
    evaluate_spec["evaluation"] |= {"skip_saved": True}
    assert run_program("evaluate", evaluate_spec) == 0
    assert _read(out / "results.json") == results


def test_choices_need_closed_questions_and_a_model_in_this_process(
    evaluate_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    spec = copy.deepcopy(evaluate_spec)
    spec["evaluation"] |= {"scoring": "choices", "engine": "vllm"}
    assert run_program("evaluate", spec) == 2
    assert diagnosis(tmp_path / "evaluation")["code"] == "choices_on_server"
    spec["evaluation"] |= {"engine": "transformers", "answer_type": "reasoning"}
    assert run_program("evaluate", spec) == 2
    assert diagnosis(tmp_path / "evaluation")["code"] == "choices_after_thought"
    records = _read(clips / "test" / "annotations.json")
    records[0]["conversations"][1]["value"] = "A ball that rolls."
    (tmp_path / "annotations.json").write_text(json.dumps(records))
    spec["evaluation"] |= {"answer_type": "freeform"}
    spec["dataset"]["annotation_path"] = str(tmp_path / "annotations.json")
    spec["task"]["type"] = ""
    spec["model"]["model_name"] = str(clips)  # an error of the model would come later
    assert run_program("evaluate", spec) == 3
    assert diagnosis(tmp_path / "evaluation")["code"] == "no_choices"


def test_every_question_of_a_record_is_asked_after_its_own_answers(
    evaluate_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    records = _read(clips / "test" / "annotations.json")[:4]
    for record in records[:2]:
        record["conversations"] += [{"from": "human", "value": "And then?"}, {"from": "gpt", "value": "straight"}]
    (tmp_path / "annotations.json").write_text(json.dumps(records))
    evaluate_spec["dataset"]["annotation_path"] = str(tmp_path / "annotations.json")
    evaluate_spec["evaluation"] |= {"turns": "all"}
    assert run_program("evaluate", evaluate_spec) == 0
    out = tmp_path / "evaluation"
    results = _read(out / "results.json")
    names = [record["id"] for record in records]
    assert [result["id"] for result in results] == [
        f"{name}:{turn}" for name, count in zip(names, (2, 2, 1, 1), strict=True) for turn in range(1, count + 1)
    ]
    assert [result["gt"] for result in results][1::2][:2] == ["straight"] * 2
    assert sorted(path.name for path in (out / "samples").iterdir()) == [
        "0.1.json",
        "0.2.json",
        "1.1.json",
        "1.2.json",
        "2.1.json",
        "3.1.json",
    ]
    assert len({_read(path)["asked"] for path in (out / "samples").iterdir()}) == 6
    assert _read(out / "metrics_summary.json")["num_samples"] == 6


@pytest.mark.slow
def test_saved_answers_are_judged_again_and_asked_again_where_the_clip_changed(
    evaluate_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    shutil.copytree(clips / "test", tmp_path / "clips")
    annotations = tmp_path / "clips" / "annotations.json"
    evaluate_spec["dataset"] = {"annotation_path": str(annotations), "media_dir": str(tmp_path / "clips")}
    assert run_program("evaluate", evaluate_spec) == 0
    out = tmp_path / "evaluation"
    for index in range(9):
        sample = _read(out / "samples" / f"{index}.json") | {"response": "left, as saved"}
        (out / "samples" / f"{index}.json").write_text(json.dumps(sample))
    records = _read(annotations)
    for record in records:
        record["conversations"][1]["value"] = "left"
    annotations.write_text(json.dumps(records))
    shutil.copy(tmp_path / "clips" / records[1]["video"], tmp_path / "clips" / records[0]["video"])
    evaluate_spec["evaluation"] |= {"skip_saved": True, "batch_size": 1}
    assert run_program("evaluate", evaluate_spec) == 0
    results = _read(out / "results.json")
    assert results[0]["response"] != "left, as saved"
    assert [result["verdict"] for result in results[1:]] == ["right"] * 8
    assert _read(out / "samples" / "3.json")["verdict"] == "right"


def test_answers_that_hit_the_maximum_are_reported(
    evaluate_spec: Document, run_program: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tao_skill_bank.models.cosmos_reason.generate._end_tokens", lambda *_: [0])
    assert run_program("evaluate", evaluate_spec) == 0
    out = tmp_path / "evaluation"
    summary = _read(out / "metrics_summary.json")
    assert summary["metrics"]["hit_max_tokens"] == 9
    assert {result["hit_max_tokens"] for result in _read(out / "results.json")} == {True}
    finding = next(found for found in summary["findings"] if found["code"] == "answers_cut")
    assert finding["message"] in read_lines(out / "status.jsonl")[-1]["message"]


@pytest.mark.slow
def test_a_run_that_was_ended_gives_what_it_would_have_given_at_once(
    evaluate_spec: Document, run_program: Run, tmp_path: Path
) -> None:
    evaluate_spec["generation"] |= {"temperature": 1.5}  # sampled: an answer depends on its batch
    assert run_program("evaluate", evaluate_spec) == 0
    out = tmp_path / "evaluation"
    whole = _read(out / "results.json")
    for index in (0, 1, 2, 7):
        (out / "samples" / f"{index}.json").unlink()
    half = (out / "samples" / "5.json").read_text()
    (out / "samples" / "5.json").write_text(half[: len(half) // 2])
    (out / "results.json").unlink()
    evaluate_spec["evaluation"]["skip_saved"] = True
    assert run_program("evaluate", evaluate_spec) == 0
    assert _read(out / "results.json") == whole
    assert len(list((out / "samples").glob("*.json"))) == 9


def test_a_gpu_without_room_names_the_keys_of_an_evaluation(
    evaluate_spec: Document, adapter: Path, tiny_model: Path, run_program: Run, tmp_path: Path
) -> None:
    from transformers import Qwen3VLForConditionalGeneration

    def no_room(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

    evaluate_spec["model"] |= {
        "model_name": str(adapter),
        "enable_lora": True,
        "base_model_path": str(tiny_model),
    }
    for method in ("generate", "from_pretrained"):  # while it answers, and while it is loaded
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Qwen3VLForConditionalGeneration, method, no_room)
            assert run_program("evaluate", evaluate_spec) == 8
        told = diagnosis(tmp_path / "evaluation")
        assert told["code"] == "cuda_out_of_memory"
        assert "its adapter and 4 question(s)" in told["cause"]
        assert "Tried to allocate 2.00 GiB." in told["cause"]
        assert "evaluation.batch_size from 4 to 1" in told["cure"]
        assert "vision.total_pixels" in told["cure"]
        assert "mini_batch" not in told["cure"]


def test_only_the_clips_that_are_asked_about_are_extracted(
    evaluate_spec: Document, run_program: Run, clips: Path, tmp_path: Path, state_dir: Path
) -> None:
    with tarfile.open(tmp_path / "videos.tar.gz", "w:gz") as tar:
        tar.add(clips / "test" / "videos", "videos")
    evaluate_spec["dataset"]["media_dir"] = str(tmp_path / "videos.tar.gz")
    evaluate_spec["evaluation"]["limit"] = 2
    assert run_program("evaluate", evaluate_spec) == 0
    found = sorted(path.name for path in (state_dir / "cache" / "media").rglob("*.mp4"))
    assert found == [f"test-{index:05d}.mp4" for index in _taken(clips, 2)]


def _evaluate_in_fresh_processes(config: Path, count: int) -> None:
    """Evaluate in `count` new processes of one thread each.

    Sampled answers follow the last bits of the logits, so both sides of a comparison must compute in the same way: this
    process may have other threads and settings of torch, left by whatever ran in it before.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count), "-m"]
    command += ["tao_skill_bank.models.cosmos_reason.evaluate", "--config", str(config)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    finished = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False, env=environment)
    assert finished.returncode == 0, finished.stderr[-3000:]


@pytest.mark.slow
def test_answers_and_metrics_do_not_depend_on_the_number_of_processes(
    evaluate_spec: Document, write_config: Callable[..., Path], clips: Path, tmp_path: Path
) -> None:
    records = _read(clips / "test" / "annotations.json")
    for index, record in enumerate(records):  # lengths that differ, and truths that are free text
        record["conversations"][0]["value"] = "<video>\n" + "Which way does it go? " * (1 + index % 4)
        record["conversations"][1]["value"] = f"It goes {record['conversations'][1]['value']}, slowly."
    (tmp_path / "annotations.json").write_text(json.dumps(records))
    evaluate_spec["dataset"]["annotation_path"] = str(tmp_path / "annotations.json")
    evaluate_spec["task"]["type"] = ""
    evaluate_spec["evaluation"] |= {"batch_size": 2, "soft_accuracy": {"enabled": True, "f1_threshold": 0.3}}
    evaluate_spec["generation"] |= {"temperature": 0.7}
    for name, count in (("one", 1), ("two", 2)):
        spec = copy.deepcopy(evaluate_spec) | {"results_dir": str(tmp_path / name), "num_gpus": count}
        _evaluate_in_fresh_processes(write_config(spec, name), count)
    for name in ("results.json", "metrics_summary.json"):
        assert _read(tmp_path / "two" / name) == _read(tmp_path / "one" / name)
    metrics = _read(tmp_path / "two" / "metrics_summary.json")["metrics"]
    assert metrics["rouge1"] is not None
    assert metrics["bleu"] is not None
    assert {record["rank"] for record in map(_read, (tmp_path / "two" / "exit").glob("rank_*.json"))} == {0, 1}


@pytest.mark.slow
def test_an_adapter_is_merged_to_evaluate_and_to_export(
    adapter: Path, tiny_model: Path, evaluate_spec: Document, run_program: Run, tmp_path: Path, processor: Processor
) -> None:
    from peft import PeftModel
    from transformers import Qwen3VLForConditionalGeneration

    lora = {"enable_lora": True, "base_model_path": str(tiny_model)}
    evaluate_spec["model"] |= {"model_name": str(adapter), **lora}
    assert run_program("evaluate", evaluate_spec) == 0
    export = {"results_dir": str(tmp_path / "export"), "model_path": str(adapter), **lora}
    assert run_program("export", export) == 0
    merged = tmp_path / "export" / "safetensors" / "merged"
    ids = processor.tokenizer("Is the ball moving left?", return_tensors="pt")["input_ids"]
    adapted = PeftModel.from_pretrained(Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)), str(adapter))
    with torch.no_grad():
        expected = adapted.eval()(input_ids=ids).logits
        got = Qwen3VLForConditionalGeneration.from_pretrained(str(merged)).eval()(input_ids=ids).logits
        base = Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)).eval()(input_ids=ids).logits
    assert torch.allclose(got, expected, atol=1e-4)
    assert not torch.allclose(base, expected, atol=1e-2)
    evaluate_spec["model"] = {"model_name": str(merged), "dtype": "float32", "max_length": 2048}
    evaluate_spec["results_dir"] = str(tmp_path / "of_merged")
    assert run_program("evaluate", evaluate_spec) == 0
    assert _read(tmp_path / "of_merged" / "results.json") == _read(tmp_path / "evaluation" / "results.json")


def test_an_adapter_of_other_weights_or_shapes_is_refused(
    adapter: Path, tiny_model: Path, evaluate_spec: Document, run_program: Run, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    weights = load_file(str(tiny_model / "model.safetensors"))
    save_file(
        {name: tensor + 1 for name, tensor in weights.items()}, str(other / "model.safetensors"), {"format": "pt"}
    )
    lora = {"enable_lora": True, "base_model_path": str(other)}
    evaluate_spec["model"] |= {"model_name": str(adapter), **lora}
    assert run_program("evaluate", evaluate_spec) == 3
    assert diagnosis(tmp_path / "evaluation")["code"] == "adapter_base_mismatch"

    widened = tmp_path / "widened"
    shutil.copytree(adapter, widened)
    (widened / "base_model.json").unlink()
    tensors = load_file(str(adapter / "adapter_model.safetensors"))
    wide = {name: torch.cat([t, t], 1) if "lora_A" in name else t for name, t in tensors.items()}
    save_file(wide, str(widened / "adapter_model.safetensors"))
    evaluate_spec["model"] |= {"model_name": str(widened), "base_model_path": str(tiny_model)}
    assert run_program("evaluate", evaluate_spec) == 3
    assert diagnosis(tmp_path / "evaluation")["code"] == "adapter_base_mismatch"


def test_mistakes_of_an_evaluation_are_named(evaluate_spec: Document, run_program: Run, tmp_path: Path) -> None:
    spec = copy.deepcopy(evaluate_spec)
    spec["model"]["enable_lora"] = True
    assert run_program("evaluate", spec) == 2
    assert diagnosis(tmp_path / "evaluation")["code"] == "adapter_without_base"
    spec = copy.deepcopy(evaluate_spec)
    spec["generation"]["max_tokens"] = 4096
    assert run_program("evaluate", spec) == 2
    assert diagnosis(tmp_path / "evaluation")["code"] == "max_length"


def test_truths_and_libraries_are_checked_before_the_model_is_loaded(
    evaluate_spec: Document, run_program: Run, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate_spec["model"]["model_name"] = str(clips)  # an error of the model would come later
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib", None)
        assert run_program("evaluate", evaluate_spec) == 3
        assert diagnosis(tmp_path / "evaluation")["code"] == "missing_extra"
    records = _read(clips / "test" / "annotations.json")
    for index in (3, 5):
        records[index]["conversations"][1]["value"] = "A crash."
    (tmp_path / "annotations.json").write_text(json.dumps(records))
    evaluate_spec["dataset"]["annotation_path"] = str(tmp_path / "annotations.json")
    assert run_program("evaluate", evaluate_spec) == 3
    assert diagnosis(tmp_path / "evaluation")["code"] == "not_a_direction"
    assert "#3, #5" in diagnosis(tmp_path / "evaluation")["cause"]


def test_inference_answers_one_prompt(tiny_model: Path, clips: Path, run_program: Run, tmp_path: Path) -> None:
    media = clips / "test" / "videos" / "test-00000.mp4"
    spec = {
        "media": str(media),
        "prompt": "Is the ball moving left, right or straight? Answer with one word.",
        "model_path": str(tiny_model),
        "num_frames": 4,
        "max_new_tokens": 4,
        "results_dir": str(tmp_path / "answer"),
    }
    assert run_program("inference", spec) == 0
    result = _read(tmp_path / "answer" / "results.json")[0]
    assert result["response"] in ("left", "right", "straight")
    assert (result["video_id"], result["gt"]) == (str(media), None)


def test_inference_runs_on_one_gpu_and_within_the_context(
    tiny_model: Path, clips: Path, run_program: Run, tmp_path: Path
) -> None:
    spec = {
        "media": str(clips / "test" / "videos" / "test-00000.mp4"),
        "prompt": "Which way?",
        "model_path": str(tiny_model),
        "num_frames": 4,
        "results_dir": str(tmp_path / "answer"),
    }
    assert run_program("inference", {**spec, "num_gpus": 2}) == 2
    assert diagnosis(tmp_path / "answer")["code"] == "one_gpu"
    assert run_program("inference", {**spec, "max_new_tokens": 4090}) == 3
    told = diagnosis(tmp_path / "answer")
    assert told["code"] == "question_too_long"
    assert "max_new_tokens" in told["cure"]


@pytest.mark.slow
def test_the_builtin_model_is_the_same_bytes_every_time(tiny_model: Path, tmp_path: Path) -> None:
    if torch.get_num_threads() != 1:
        pytest.skip("sums of several threads may differ in the last bit")
    builtin.create("tiny-cosmos-reason", tmp_path / "again")
    for path in tiny_model.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
