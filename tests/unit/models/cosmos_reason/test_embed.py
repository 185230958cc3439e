"""Embeddings of the real tiny model, next to what transformers computes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mining_pools import mined_paths, request, sha256, write_gaps

from tao_skill_bank.mining import embeddings, miner
from tao_skill_bank.models.cosmos_reason import data
from tao_skill_bank.models.cosmos_reason.config import EmbedConfig
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import question_and_answer
from tao_skill_bank.models.cosmos_reason.embedding import memory
from tao_skill_bank.models.cosmos_reason.loader import Padding, collate, to_device
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.samples.vlm import write_video
from tao_skill_bank.training.config import load_spec

from .conftest import Document, diagnosis, read_lines

Run = Callable[[str, Document], int]
KILLED_AFTER_ONE_PART = """
import os, signal, sys
from tao_skill_bank.models.cosmos_reason.embedding import parts
parts.PART_ROWS = 4
write = parts.Parts.flush
def flush(self):
    write(self)
    os.kill(os.getpid(), signal.SIGKILL)
parts.Parts.flush = flush
from tao_skill_bank.models.cosmos_reason import embed
from tao_skill_bank.models.cosmos_reason.config import EmbedConfig
from tao_skill_bank.training import entrypoint
entrypoint.main(EmbedConfig, embed.embed, lambda config: config.results_dir)
"""


@pytest.fixture
def samples(processor: Processor, clips: Path) -> list[Any]:
    """The prompts of the test clips, as inputs of the model."""
    shown = data.Presentation(VideoSampling(nframes=4), 1000)
    annotations = data.read_annotations(str(clips / "test" / "annotations.json"))
    records = data.Records(annotations, str(clips / "test"), processor, shown)
    prompts = [question_and_answer(records.conversation(index))[0] for index in range(len(records))]
    return [processor.encode(prompt, records.frames(prompt), max_length=1000, answer=True) for prompt in prompts]


@pytest.fixture
def plain(tiny_model: Path) -> Any:
    from transformers import Qwen3VLForConditionalGeneration

    return Qwen3VLForConditionalGeneration.from_pretrained(str(tiny_model)).eval()


def inputs_of(sample: Any, processor: Processor) -> dict[str, torch.Tensor]:
    batch = to_device(collate([sample], Padding(processor, side="left")), torch.device("cpu"), processor)
    return batch.inputs


def dataset_of(folder: Path) -> Document:
    return {"annotation_path": str(folder / "annotations.json"), "media_dir": str(folder)}


def vectors(folder: Path) -> Any:
    opened = embeddings.opened(folder / "embeddings.parquet")
    return opened.rows(np.arange(opened.num_rows))


def column(folder: Path, name: str) -> list[str | None]:
    found: list[str | None] = embeddings.opened(folder / "embeddings.parquet").texts(name).to_pylist()
    return found


def counts(folder: Path) -> Document:
    found: Document = json.loads((folder / "metrics_summary.json").read_text())["metrics"]
    return found


def unit(rows: list[torch.Tensor]) -> Any:
    return torch.nn.functional.normalize(torch.stack(rows).float(), dim=-1).numpy()


def test_a_vision_embedding_is_the_mean_of_the_features_that_transformers_computes(
    embed_spec: Document, run_program: Run, samples: list[Any], plain: Any, processor: Processor, clips: Path
) -> None:
    embed_spec["embedding"]["batch_tokens"] = 20  # two clips of eight tokens
    assert run_program("embed", embed_spec) == 0
    folder = Path(embed_spec["results_dir"])
    expected = []
    with torch.no_grad():
        for sample in samples:
            inputs = inputs_of(sample, processor)
            found = plain.model.visual(inputs["pixel_values_videos"], grid_thw=inputs["video_grid_thw"])
            expected.append(found.pooler_output.mean(0))
    assert np.abs(vectors(folder) - unit(expected)).max() < 1e-3
    records = json.loads((clips / "test" / "annotations.json").read_text())
    files = [str(clips / "test" / record["video"]) for record in records]
    assert column(folder, "filepath") == files
    assert column(folder, "content_sha256") == list(map(sha256, files))
    assert column(folder, "question") == column(folder, "record_id") == [None] * 9
    assert read_lines(folder / "status.jsonl")[-1]["message"] == "Embedded 9 rows of 9 clips (vision, 64 values)."


def test_a_joint_embedding_is_the_last_state_of_the_prompt_that_transformers_computes(
    embed_spec: Document, run_program: Run, samples: list[Any], plain: Any, processor: Processor, clips: Path
) -> None:
    embed_spec["embedding"] |= {"kind": "joint", "batch_tokens": 200}
    assert run_program("embed", embed_spec) == 0
    folder = Path(embed_spec["results_dir"])
    with torch.no_grad():
        expected = [plain.model(**inputs_of(each, processor)).last_hidden_state[0, -1] for each in samples]
    assert np.abs(vectors(folder) - unit(expected)).max() < 1e-3
    records = json.loads((clips / "test" / "annotations.json").read_text())
    assert set(column(folder, "modality")) == {"joint"}
    assert column(folder, "record_id") == [record["id"] for record in records]
    assert "<video>" not in str(column(folder, "question"))


def test_clips_and_questions_alone_are_in_the_space_of_both(
    embed_spec: Document, run_program: Run, samples: list[Any], plain: Any, processor: Processor, tmp_path: Path
) -> None:
    found = {}
    for content in ("clip", "question"):
        embed_spec["embedding"] |= {"kind": "joint", "content": content}
        embed_spec["results_dir"] = str(tmp_path / content)
        assert run_program("embed", embed_spec) == 0
        found[content] = embeddings.opened(tmp_path / content / "embeddings.parquet")
    embeddings.require_comparable(found["question"], found["clip"])
    assert set(column(tmp_path / "question", "modality")) == {"text"}
    assert column(tmp_path / "question", "filepath") == column(tmp_path / "clip", "filepath")
    assert column(tmp_path / "clip", "question") == [None] * 9
    words = str(column(tmp_path / "question", "question")[0])
    turn = [{"role": "user", "content": [{"type": "text", "text": words}]}]
    text = processor.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    ids = torch.tensor([processor.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        expected = plain.model(input_ids=ids).last_hidden_state[0, -1]
    assert np.abs(vectors(tmp_path / "question")[0] - unit([expected])[0]).max() < 1e-3


def test_a_killed_run_embeds_the_rest_when_it_is_repeated_and_what_it_writes_can_be_mined(
    embed_spec: Document,
    run_program: Run,
    write_config: Callable[..., Path],
    clips: Path,
    tmp_path: Path,
) -> None:
    embed_spec["embedding"] |= {"batch_tokens": 32}
    folder = Path(embed_spec["results_dir"])
    command = [sys.executable, "-c", KILLED_AFTER_ONE_PART, "--config", str(write_config(embed_spec, "killed"))]
    assert subprocess.run(command, check=False, env=os.environ | {"TAO_DEVICE": "cpu"}).returncode == -signal.SIGKILL
    assert not (folder / "embeddings.parquet").exists()
    assert run_program("embed", embed_spec) == 0
    assert (counts(folder)["rows"], counts(folder)["reused"]) == (9, 4)
    at_once = vectors(folder)
    assert run_program("embed", embed_spec) == 0
    assert counts(folder)["reused"] == 9
    embed_spec["results_dir"] = str(tmp_path / "uninterrupted")
    assert run_program("embed", embed_spec) == 0
    assert counts(tmp_path / "uninterrupted")["reused"] == 0
    assert np.abs(vectors(tmp_path / "uninterrupted") - at_once).max() < 1e-3
    train = clips / "train"
    embed_spec |= {"results_dir": str(tmp_path / "pool"), "dataset": dataset_of(train)}
    assert run_program("embed", embed_spec) == 0
    failed = column(folder, "filepath")[:2]
    gaps = write_gaps(tmp_path / "gaps.parquet", list(map(str, failed)), ["left", "right"])
    kpi, pool = folder / "embeddings.parquet", tmp_path / "pool" / "embeddings.parquet"
    wanted = request(tmp_path, kpi, pool, gaps=gaps, top_k=2, annotations=train / "annotations.json")
    assert len(mined_paths(miner.mine(wanted).summary)) >= 2


def test_another_clip_under_the_same_name_is_embedded_again(
    embed_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    records = json.loads((clips / "test" / "annotations.json").read_text())[:3]
    for record in records:
        (tmp_path / record["video"]).parent.mkdir(exist_ok=True)
        (tmp_path / record["video"]).write_bytes((clips / "test" / record["video"]).read_bytes())
    # a pool that nobody has labelled
    unlabelled = [{name: record[name] for name in ("id", "video", "video_fps")} for record in records]
    (tmp_path / "pool.json").write_text(json.dumps(unlabelled))
    embed_spec["dataset"] = {"annotation_path": str(tmp_path / "pool.json"), "media_dir": str(tmp_path)}
    assert run_program("embed", embed_spec) == 0
    write_video(tmp_path / records[0]["video"], np.zeros((8, 64, 64, 3), dtype=np.uint8))
    assert run_program("embed", embed_spec) == 0
    assert (counts(tmp_path / "embeddings")["rows"], counts(tmp_path / "embeddings")["reused"]) == (3, 2)


def test_bad_clips_stop_the_run_or_are_left_out_up_to_a_share(
    embed_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    records = json.loads((clips / "test" / "annotations.json").read_text())
    records[4]["video"] = str(tmp_path / "broken.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "annotations.json").write_text(json.dumps(records))
    embed_spec["dataset"]["annotation_path"] = str(tmp_path / "annotations.json")
    folder = Path(embed_spec["results_dir"])
    assert run_program("embed", embed_spec) == 3
    assert "broken.mp4" in diagnosis(folder)["cause"]
    embed_spec["embedding"] |= {"on_bad_sample": "skip"}
    assert run_program("embed", embed_spec) == 3
    assert diagnosis(folder)["code"] == "too_many_bad_samples"
    assert "1 of 9 records" in diagnosis(folder)["cause"]
    embed_spec["embedding"] |= {"max_bad_share": 0.2}
    assert run_program("embed", embed_spec) == 0
    assert (counts(folder)["rows"], counts(folder)["left_out"]) == (8, 1)
    assert json.loads((folder / "skipped_records.json").read_text())[0]["index"] == 4


def test_features_that_a_training_cached_are_not_computed_again(
    embed_spec: Document, train_spec: Document, run_program: Run, clips: Path, tmp_path: Path
) -> None:
    train_spec["policy"]["lora"] = {"r": 4, "target_modules": ["q_proj"]}
    train_spec["train"] |= {"max_steps": 1, "ckpt": {"enable_checkpoint": False}}
    train_spec["train"]["train_policy"]["vision_feature_cache"] = "on"
    assert run_program("train", train_spec) == 0
    found = {}
    for kind in ("vision", "joint"):
        embed_spec["embedding"] |= {"kind": kind}
        for cached, source in ((9, "val"), (0, "test")):
            embed_spec["dataset"] = dataset_of(clips / source)
            embed_spec["results_dir"] = str(tmp_path / f"{kind}-{source}")
            assert run_program("embed", embed_spec) == 0
            assert counts(tmp_path / f"{kind}-{source}")["cached_features"] == cached
        found[kind] = vectors(tmp_path / f"{kind}-val")
        embed_spec["dataset"] = dataset_of(clips / "val")
        embed_spec["vision"] = {"nframes": 4, "total_pixels": 3136001}  # other settings, the same frames
        embed_spec["results_dir"] = str(tmp_path / f"{kind}-fresh")
        assert run_program("embed", embed_spec) == 0
        embed_spec["vision"] = {"nframes": 4}
        assert np.abs(vectors(tmp_path / f"{kind}-fresh") - found[kind]).max() < 1e-3


def test_an_adapter_of_the_language_model_changes_joint_embeddings_only(
    embed_spec: Document, run_program: Run, adapter: Path, tiny_model: Path, tmp_path: Path
) -> None:
    opened, found = {}, {}
    for kind in ("vision", "joint"):
        for name in ("base", "adapted"):
            chosen = {"model_name": str(tiny_model), "max_length": 2048}
            if name == "adapted":
                chosen |= {"model_name": str(adapter), "enable_lora": True, "base_model_path": str(tiny_model)}
            embed_spec |= {"model": chosen, "results_dir": str(tmp_path / kind / name)}
            embed_spec["embedding"] |= {"kind": kind}
            assert run_program("embed", embed_spec) == 0
            opened[name] = embeddings.opened(tmp_path / kind / name / "embeddings.parquet")
            found[name] = vectors(tmp_path / kind / name)
        difference = np.abs(found["base"] - found["adapted"]).max()
        if kind == "vision":
            embeddings.require_comparable(opened["base"], opened["adapted"])
            assert difference == 0
        else:
            with pytest.raises(Exception, match="not embedded alike"):
                embeddings.require_comparable(opened["base"], opened["adapted"])
            assert difference > 0.01


def test_memory_of_vision_embeddings_is_that_of_the_tower(
    embed_spec: Document, write_config: Callable[..., Path], plain: Any
) -> None:
    held = {}
    for kind in ("vision", "joint"):
        embed_spec["embedding"] |= {"kind": kind}
        held[kind] = memory.inspect(load_spec(EmbedConfig, write_config(embed_spec)))["memory_bytes_per_gpu"]
    tower = sum(parameter.numel() for parameter in plain.model.visual.parameters())
    assert held["vision"]["weights"] == 2 * tower
    assert held["joint"]["weights"] == 2 * sum(parameter.numel() for parameter in plain.parameters())
