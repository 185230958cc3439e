"""Builds the packaged tiny Qwen3-VL: architecture from its folder, tokenizer and weights computed from seeds.

The weights come from a short training on sample clips with *shuffled* answers. The model then answers in the right
format but knows nothing about motion, which makes it an honest baseline: about 33 % on three classes.
"""

import random
import shutil
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.core import umask
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.models.cosmos_reason import processor_files
from tao_skill_bank.models.cosmos_reason.conversation import parse
from tao_skill_bank.models.cosmos_reason.loader import Batch, Padding, collate, to_device
from tao_skill_bank.models.cosmos_reason.media import Frames
from tao_skill_bank.models.cosmos_reason.processor import Processor, Sample
from tao_skill_bank.models.cosmos_reason.tokens import timestamps
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat
from tao_skill_bank.samples import vlm
from tao_skill_bank.training import tiny_tokenizer

FOLDER = Path(__file__).parent / "builtin"
SEED = 0
NUM_STEPS = 60
BATCH = 16
LEARNING_RATE = 2e-3


def names() -> tuple[str, ...]:
    """Return the names of the packaged models."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob("*/config.json")))


def create(name: str, out_dir: Path) -> None:
    """Write the model `name` into `out_dir`, in the layout of a Hub checkpoint. Reproducible bit by bit.

    Raises:
        UnknownNameError: there is no packaged model of this name.

    """
    if name not in names():
        message = f"Unknown builtin model '{name}'."
        raise UnknownNameError.of("unknown_builtin", message, f"Use one of: {', '.join(names())}.")
    out_dir.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer((FOLDER / name / "chat_template.jinja").read_text(encoding="utf-8"))
    tokenizer.save_pretrained(str(out_dir))
    shutil.copy(FOLDER / name / "model_card.json", out_dir)
    for file in (processor_files.IMAGE, processor_files.VIDEO):
        shutil.copy(FOLDER / name / file, out_dir)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = _pretrained(FOLDER / name, Processor(tokenizer, PixelFormat()))
    model.save_pretrained(str(out_dir))
    umask.follow(out_dir)


def _tokenizer(chat_template: str) -> Any:
    corpus = [*vlm.QUESTIONS, *vlm.LABELS, "<0.1 seconds>\n", "system\n", "user\n", "assistant\n"]
    corpus += ["You are a helpful assistant.", "Yes", "No", "yes", "no"]
    return tiny_tokenizer.train(corpus, chat_template)


def _pretrained(folder: Path, processor: Processor) -> Any:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    model = Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_pretrained(str(folder)))
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    model.train()
    for batch in _batches(processor):
        loss = model(**batch.inputs, labels=batch.labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


def _batches(processor: Processor) -> list[Batch]:
    samples = _shuffled_samples(processor, NUM_STEPS * BATCH // 4)
    order = random.Random(SEED)
    chosen = [order.sample(samples, BATCH) for _ in range(NUM_STEPS)]
    return [to_device(collate(batch, Padding(processor)), torch.device("cpu"), processor) for batch in chosen]


def _shuffled_samples(processor: Processor, count: int) -> list[Sample]:
    clips = list(vlm.clips(count, seed=SEED + 1))
    answers = [clip.answer for clip in clips]
    random.Random(SEED).shuffle(answers)
    return [_sample(processor, clip, answer) for clip, answer in zip(clips, answers, strict=True)]


def _sample(processor: Processor, clip: vlm.Clip, answer: str) -> Sample:
    record = {
        "video": "clip",
        "conversations": [{"from": "human", "value": clip.question}, {"from": "gpt", "value": answer}],
    }
    pixels = torch.from_numpy(clip.frames).permute(0, 3, 1, 2)
    times = timestamps(tuple(range(len(pixels))), float(vlm.FRAMES_PER_SECOND))
    return processor.encode(parse(record, 0), [Frames(pixels, times)], max_length=4096)
