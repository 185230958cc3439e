"""Builds the packaged tiny Cosmos-Predict 2.5 pipeline from packaged configs, deterministically from seeds.

VAE and transformer are trained for about 85 seconds on generated clips, so that videos show the motion. The text
encoder is random: it distinguishes captions, which is all the transformer needs.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tao_skill_bank.core import umask
from tao_skill_bank.errors import UnknownNameError
from tao_skill_bank.models.cosmos_predict import pretraining
from tao_skill_bank.models.cosmos_predict.pretraining import Recipe
from tao_skill_bank.models.cosmos_predict.text import SYSTEM
from tao_skill_bank.samples import robot
from tao_skill_bank.training import tiny_tokenizer

FOLDER = Path(__file__).parent / "builtin"
INDEX = "model_index.json"
SEED = 0
RECIPE = Recipe()


def names() -> tuple[str, ...]:
    """Return the names of the packaged pipelines."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{INDEX}")))


def create(name: str, out_dir: Path) -> None:
    """Write the pipeline `name` into `out_dir`, in diffusers' layout. Reproducible bit by bit on one machine.

    Raises:
        UnknownNameError: there is no packaged pipeline of this name.

    """
    from diffusers import UniPCMultistepScheduler

    if name not in names():
        message = f"Unknown builtin model '{name}'."
        raise UnknownNameError.of("unknown_builtin", message, f"Use one of: {', '.join(names())}.")
    folder = FOLDER / name
    out_dir.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(SEED)
        tokenizer = _tokenizer(folder / "tokenizer")
        text_encoder = _text_encoder(folder / "text_encoder")
        vae, dit = _trained(folder, text_encoder, tokenizer)
    scheduler = _from_config(UniPCMultistepScheduler, folder / "scheduler")
    parts = {"tokenizer": tokenizer, "text_encoder": text_encoder, "vae": vae, "transformer": dit}
    for part, value in (parts | {"scheduler": scheduler}).items():
        value.save_pretrained(str(out_dir / part))
    umask.follow(out_dir)
    for file in (INDEX, "model_card.json"):
        shutil.copy(folder / file, out_dir)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, for a fixed order of summation and less contention on a busy machine.

    When other processes use the cores, small operators spend more time on thread synchronization than on work: the
    same steps took ten times as long on two threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _tokenizer(folder: Path) -> Any:
    """Train the tokenizer on all captions of the sample data."""
    words = [*robot.COLOURS, *robot.SHAPES, *robot.DIRECTIONS]
    fill = {"colour": "red", "shape": "ball", "direction": "left"}
    corpus = [*(caption.format(**fill) for caption in robot.CAPTIONS), *(f" {word}" for word in words), SYSTEM]
    corpus += ["system\n", "user\n"]
    return tiny_tokenizer.train(corpus, (folder / "chat_template.jinja").read_text(encoding="utf-8"))


def _text_encoder(folder: Path) -> Any:
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig.from_pretrained(str(folder))).eval()


def _from_config(kind: Any, folder: Path) -> Any:
    """Build a diffusers model from its packaged config."""
    return kind.from_config(kind.load_config(str(folder)))


def _trained(folder: Path, text_encoder: Any, tokenizer: Any) -> tuple[Any, Any]:
    """Return the VAE and the transformer."""
    from diffusers import AutoencoderKLWan, CosmosTransformer3DModel

    clips = list(robot.slides(RECIPE.clips, pretraining.CLIPS_SEED))
    videos = pretraining.pixels(clips)
    vae = _from_config(AutoencoderKLWan, folder / "vae")
    latents = pretraining.train_vae(vae, videos, RECIPE)
    dit = _from_config(CosmosTransformer3DModel, folder / "transformer")
    features = pretraining.caption_features(text_encoder, tokenizer, clips)
    pretraining.train_transformer(dit, latents, features, RECIPE)
    return vae, dit
