"""A local Cosmos-Reason checkpoint as judge, through the inference of models/cosmos_reason.

This is the one place where a model folder uses another: the judge *is* that model, and the alternative, a second copy
of its processor and decoding, would drift. Only functions that its own inference program uses are called here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tao_skill_bank.data.records.values import Media
from tao_skill_bank.models.cosmos_predict import video_frames
from tao_skill_bank.models.cosmos_predict.config.evaluate import Judge
from tao_skill_bank.models.cosmos_reason import media, model
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import Conversation
from tao_skill_bank.models.cosmos_reason.generate import Decoding, answer
from tao_skill_bank.models.cosmos_reason.loader import Padding, collate
from tao_skill_bank.models.cosmos_reason.media import Frames
from tao_skill_bank.models.cosmos_reason.processor import Processor
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.weights.safetensors_files import fingerprint

MAX_PROMPT_TOKENS = 128_000


@dataclass(frozen=True)
class CheckpointJudge:
    """A loaded checkpoint and its sampling options."""

    network: Any
    processor: Processor
    options: Judge
    ranks: Ranks
    identity: str

    @classmethod
    def load(cls, options: Judge, ranks: Ranks) -> "CheckpointJudge":
        """Load the checkpoint onto this rank's device.

        Raises:
            UnknownNameError: there is no such checkpoint.
            BlockedError: it is not a Qwen3-VL, is incomplete or cannot be downloaded.

        """
        assert options.model is not None
        network, folder = model.load_merged(options.model, base=None, dtype="auto", ranks=ranks)
        identity = f"{options.model} {fingerprint(folder)}"
        return cls(network.to(ranks.device), Processor.load(folder), options, ranks, identity)

    def watch(self, video: Path) -> Frames:
        num_frames = min(self.options.num_frames, video_frames.count(video))
        sampling = VideoSampling(nframes=num_frames, total_pixels=self.options.total_pixels)
        return media.read_video(video, sampling, geometry=self.processor.pixel_format.geometry)

    def ask(self, shown: Frames, question: str, seed: int) -> str:
        content = [{"type": "video"}, {"type": "text", "text": question}]
        asked = Conversation("judge", ({"role": "user", "content": content},), (Media("video", "video"),))
        sample = self.processor.encode(asked, [shown], max_length=MAX_PROMPT_TOKENS, answer=True)
        batch = collate([sample], Padding(self.processor, side="left"))
        decoding = Decoding(self.options.max_tokens, self.options.temperature, seed=seed)
        return answer(self.network, batch, self.processor, decoding, self.ranks.device)[0]
