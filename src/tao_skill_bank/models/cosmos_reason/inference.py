"""One answer about one video or image: `python -m tao_skill_bank.models.cosmos_reason.inference --config F`."""

from dataclasses import replace
from pathlib import Path

import torch

from tao_skill_bank.data.records.values import Media
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import media, model, out_of_memory, preload
from tao_skill_bank.models.cosmos_reason.config import InferenceConfig, rules
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import Conversation, Message
from tao_skill_bank.models.cosmos_reason.generate import Decoding, answer
from tao_skill_bank.models.cosmos_reason.loader import Padding, collate
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.models.cosmos_reason.saved_answers import write_json
from tao_skill_bank.training import entrypoint
from tao_skill_bank.training.entrypoint import Run
from tao_skill_bank.training.out_of_memory import explained


def infer(config: InferenceConfig, run: Run) -> str:
    """Answer the prompt and write results.json. Returns the closing message."""
    rules.require("inference", config)
    ranks = run.ranks
    dtype = "auto" if config.torch_dtype == "auto" else getattr(torch, config.torch_dtype)
    base = config.base_model_path if config.enable_lora else None
    memory_advice = out_of_memory.of_inference(config)
    run.status.phase("loading the model")
    with explained(*memory_advice):
        network, folder = model.load_merged(config.model_path, base=base, dtype=dtype, ranks=ranks)
    device = torch.device("cpu") if config.device_map == "cpu" else ranks.device
    processor = Processor.load(folder)
    vision = VideoSampling(fps=config.fps, nframes=config.num_frames, total_pixels=config.total_pixels)
    read = media.read_image if config.type == "image" else media.read_video
    frames = read(Path(config.media), vision, geometry=processor.pixel_format.geometry)
    room = int(network.config.text_config.max_position_embeddings) - config.max_new_tokens
    try:
        sample = processor.encode(_conversation(config), [frames], max_length=room, answer=True)
    except BlockedError as error:
        raise _with_own_keys(error) from None
    batch = collate([sample], Padding(processor, side="left"))
    run.status.phase("answering")
    with explained(*memory_advice):
        response = answer(network.to(device), batch, processor, Decoding(config.max_new_tokens), device)[0]
    result = {"video_id": config.media, "question": config.prompt, "response": response, "gt": None}
    write_json(run.results_dir / "results.json", [result])
    return f"Answered: {response}"


def _with_own_keys(error: BlockedError) -> BlockedError:
    """Return the error for a too long prompt, with the keys of this spec in its fix."""
    problem = error.problems[0]
    if problem.code != "sequence_too_long":
        return error
    fix = "Lower fps or num_frames, total_pixels or max_new_tokens."
    return BlockedError([replace(problem, code="question_too_long", fix=fix)])


def _conversation(config: InferenceConfig) -> Conversation:
    messages: list[Message] = []
    if config.system_prompt:
        messages.append({"role": "system", "content": [{"type": "text", "text": config.system_prompt}]})
    messages.append({"role": "user", "content": [{"type": config.type}, {"type": "text", "text": config.prompt}]})
    return Conversation(config.media, tuple(messages), (Media(config.type, config.media),))


if __name__ == "__main__":
    entrypoint.main(InferenceConfig, infer, lambda config: config.results_dir, load_libraries=preload.for_inference)
