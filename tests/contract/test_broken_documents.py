"""JSON that a model, adapter, checkpoint or resumed folder brings: every reader ends a hostile one in a typed error."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from small_training import FACTS

from tao_skill_bank.contracts import MonitoringMetric
from tao_skill_bank.errors import TaoSkillsError
from tao_skill_bank.labelling import review_file
from tao_skill_bank.models.cosmos_predict import generated_videos, pipeline, prepare
from tao_skill_bank.models.cosmos_predict import inspect as predict_inspect
from tao_skill_bank.models.cosmos_reason import architectures, processor, processor_files, sharded_weights
from tao_skill_bank.models.cosmos_reason import model as reason_model
from tao_skill_bank.models.cosmos_reason.quantization import scheme
from tao_skill_bank.models.label_videos import clip_pool
from tao_skill_bank.runs import gaps
from tao_skill_bank.runs.gaps import record_index
from tao_skill_bank.training import adapters, bad_samples, checkpoint, checkpoint_contents, resume
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.weights import model_folders

RANKS = Ranks(0, 1, torch.device("cpu"))
LOSS = MonitoringMetric("val/avg_loss", "minimize")
INDEX = "model.safetensors.index.json"
DIFFUSERS_INDEX = "diffusion_pytorch_model.safetensors.index.json"
HOSTILE = {
    "empty": b"",
    "cut": b'{"a": [1,',
    "binary": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "digits": b'{"step": ' + b"9" * 5000 + b"}",
    "null": b"null",
    "number": b"3",
    "text": b'"text"',
    "list": b"[3]",
    "wrong types": b'{"weight_map": [1], "chat_template": {}, "best_score": "x", "model_type": {}, "files": 3}',
    "progress": b'{"step": "3", "epoch": [1]}',
    "leaves": b'{"weight_map": {"a": "../../x"}}',
    "numbers": b'{"weight_map": {"a": 1}}',
}

UNREADABLE = ("empty", "cut", "binary", "deep", "deep objects", "digits")


def _index(folder: Path) -> object:
    with record_index.opened(folder / "annotations.json", "/data", "video", folder) as index:
        return index.num_records


def _skips(folder: Path) -> object:
    policy = bad_samples.Policy(skips=True, max_share=1, share_key="max_bad_share")
    return bad_samples.SkipLog(policy, 9, folder, resumed=folder)


READERS = {
    "model config": ("config.json", lambda folder: reason_model.find_checkpoint(str(folder), RANKS)),
    "architecture": ("config.json", lambda folder: architectures.find(str(folder))),
    "quantized": ("config.json", scheme.is_quantized),
    "chat template": ("chat_template.json", processor._separate_template),
    "shards": (INDEX, lambda folder: model_folders.weight_map(folder / INDEX)),
    "sharded weights": (INDEX, sharded_weights._files),
    "pipeline shards": (DIFFUSERS_INDEX, lambda folder: pipeline.weight_files(folder, None)),
    "pipeline": ("model_index.json", pipeline.read_index),
    "transformer config": ("transformer/config.json", lambda folder: predict_inspect.find_architecture(str(folder))),
    "generated": ("results.json", lambda folder: generated_videos._listed(folder / "results.json")),
    "answers": ("results.json", lambda folder: gaps.analyze(folder, folder / "gaps.parquet")),
    "evaluated records": ("annotations.json", _index),
    "adapter base": (adapters.BASE_FILE, lambda folder: adapters._require_same_base(folder, folder)),
    "contents": (checkpoint_contents.FILE, lambda folder: checkpoint_contents.read(folder, FACTS)),
    "progress": (checkpoint.PROGRESS_FILE, lambda folder: checkpoint.progress_of(folder, FACTS)),
    "identity": (resume.IDENTITY_FILE, lambda folder: resume.changes(folder, {}, FACTS)),
    "skips": (bad_samples.SKIPPED_FILE, _skips),
    "best": ("best/best_score.json", lambda folder: checkpoint.is_best(folder, 0.5, LOSS)),
    "prepared": (prepare.SUMMARY, prepare._require_ours),
    "clips of a list": ("pool.json", lambda folder: clip_pool.read(folder / "pool.json", folder)),
    "review": ("review.jsonl", lambda folder: review_file.read(folder / "review.jsonl")),
    "processor": ("preprocessor_config.json", processor_files.image_document),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_document_ends_in_a_typed_error_or_is_read_without_what_it_lacks(reader, what, tmp_path):
    name, read = READERS[reader]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(HOSTILE[what])
    if error := _error_of(read, tmp_path):
        assert all(problem.message and problem.fix for problem in error.problems)
    else:
        assert what not in UNREADABLE, "it was read as if it were whole"


def _error_of(read: Callable[[Path], object], folder: Path) -> TaoSkillsError | None:
    try:
        read(folder)
    except TaoSkillsError as error:
        return error
    return None
