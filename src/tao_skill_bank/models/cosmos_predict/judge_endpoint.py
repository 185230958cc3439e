"""An OpenAI-compatible server as judge: frames as JPEG in a chat completion."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from tao_skill_bank.core import chat_endpoint
from tao_skill_bank.core.chat_endpoint import ChatEndpoint, SpecKeys
from tao_skill_bank.models.cosmos_predict import video_frames
from tao_skill_bank.models.cosmos_predict.config.evaluate import Judge

JPEG_QUALITY = 90
LONGEST_SIDE_PIXELS = 768  # servers downscale to about this size anyway; keeps requests below their size limits
KEYS = SpecKeys(
    url="judge.endpoint",
    model="judge.endpoint_model",
    key_variable="judge.api_key_variable",
    timeout="judge.timeout_seconds",
    request="judge.num_frames, judge.max_tokens",
    kept="existing scores are kept.",
)


@dataclass(frozen=True)
class EndpointJudge:
    """A server that has replied once, and its request options."""

    options: Judge
    endpoint: ChatEndpoint

    @classmethod
    def connect(cls, options: Judge, *, retries: int = chat_endpoint.RETRIES) -> "EndpointJudge":
        """Send a test request, so that problems are known before any video is measured.

        Raises:
            TaoSkillsError: see `ChatEndpoint.open` and `ChatEndpoint.ask`.

        """
        assert options.endpoint is not None
        endpoint = ChatEndpoint.open(
            options.endpoint,
            options.endpoint_model or "",
            variable=options.api_key_variable,
            timeout_seconds=options.timeout_seconds,
            keys=KEYS,
            retries=retries,
        )
        judge = cls(options, endpoint)
        judge.ask([], "Reply with the word ready.", 0)
        return judge

    @property
    def identity(self) -> str:
        return f"{self.endpoint.place} {self.options.endpoint_model}"

    def watch(self, video: Path) -> list[str]:
        """Return the frames as data URIs."""
        wanted = video_frames.spread(video_frames.count(video), self.options.num_frames)
        return [_data_uri(image) for _, image in sorted(video_frames.read(video, wanted, "rgb24").items())]

    def ask(self, shown: list[str], question: str, seed: int) -> str:
        images = [{"type": "image_url", "image_url": {"url": uri}} for uri in shown]
        messages = [{"role": "user", "content": [*images, {"type": "text", "text": question}]}]
        options = self.options
        return self.endpoint.ask(messages, max_tokens=options.max_tokens, temperature=options.temperature, seed=seed)


def _data_uri(frame: video_frames.Image) -> str:
    from PIL import Image

    image = Image.fromarray(frame)
    image.thumbnail((LONGEST_SIDE_PIXELS, LONGEST_SIDE_PIXELS))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
