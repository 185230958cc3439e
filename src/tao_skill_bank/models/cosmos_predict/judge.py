"""A vision language model scores a video from 1 to 5. A score is what the model replied, or None; never a default."""

import json
import re
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tao_skill_bank.models.cosmos_predict.config.evaluate import EvaluateConfig
from tao_skill_bank.training.distributed import Ranks

LOWEST, HIGHEST = 1, 5
SEED_STRIDE = 1000  # each attempt of a seed has its own seed

PHYSICS = "judge_physics"
INSTRUCTION = "judge_instruction"

FORMAT = (
    'Reply with one JSON object and nothing else: {"reason": "<one short sentence>", "score": <whole number 1 to 5>}'
)
REMINDER = "Your last reply held no single score from 1 to 5. " + FORMAT
RUBRICS = {
    PHYSICS: """You see frames of a video that a world model generated. Judge only whether what happens could \
happen in the real world. What the video was meant to show does not matter, nor does its sharpness.

Look for: things that appear, vanish, melt or change their shape; solid bodies that pass through each other; things \
that move without being pushed, carried or dropped, or float; contacts without effect; limbs that bend where they have \
no joint; shadows and reflections that do not follow.

5: nothing contradicts everyday physics.
4: one small flaw that is easy to miss.
3: several small flaws, or one that anybody sees.
2: a serious flaw through much of the video.
1: hardly anything behaves as in the real world.""",
    INSTRUCTION: """You see frames of a video that a world model generated for this instruction:

<instruction>
{instruction}
</instruction>

Judge only whether the video carries out the instruction. Check five points: completion (is the task finished by the \
last frame?), action (is it the motion that was asked for?), object (is it done to the right thing?), goal (does the \
thing end in the right place or state?), hand (is it the hand or arm that was named? if none was named, this point \
holds).

5: all five points hold.
4: all but a detail; the task is done.
3: the right action on the right object, but not finished, or one point is wrong.
2: an attempt at the task that gets most points wrong.
1: nothing of the instruction is carried out.""",
}
SCORE_LINE = re.compile(
    r"^[\s*_#>-]*(?:final\s+)?score[\s*_]*[:=][\s*_]*([^\s*_]+?)[\s*_.]*$", re.IGNORECASE | re.MULTILINE
)
OUT_OF_FIVE = re.compile(r"^(\d+)/5$")


class Judge(Protocol):
    """A model that answers questions about a video."""

    @property
    def identity(self) -> str:
        """The identity of this judge, for caching its answers."""

    def watch(self, video: Path) -> Any:
        """Return the frames to show to the judge. Raises BlockedError when the video cannot be decoded."""

    def ask(self, shown: Any, question: str, seed: int) -> str:
        """Return the answer to a question about the frames of `watch`."""


@dataclass(frozen=True)
class Answer:
    """A judge's answer for one seed; the score is None when no attempt had one. `text` is its last reply."""

    seed: int
    score: int | None
    attempts: int
    text: str


@dataclass(frozen=True)
class Verdict:
    """The answers for all seeds; mean and (sample) standard deviation of the scores, if any."""

    mean: float | None
    std: float | None
    answers: tuple[Answer, ...]
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "unparsed": sum(answer.score is None for answer in self.answers)}


def open_judge(config: EvaluateConfig, ranks: Ranks) -> Judge:
    """Return the judge that the spec names, ready to answer: its weights are loaded, or its endpoint has replied.

    Raises:
        TaoSkillsError: the checkpoint is unusable, or the endpoint cannot be reached, refuses the key or is another
            kind of server.

    """
    if config.judge.endpoint:
        from tao_skill_bank.models.cosmos_predict.judge_endpoint import EndpointJudge

        return EndpointJudge.connect(config.judge)
    from tao_skill_bank.models.cosmos_predict.judge_checkpoint import CheckpointJudge

    return CheckpointJudge.load(config.judge, ranks)


def question(metric: str, instruction: str = "") -> str:
    """Return the question for a judge; `instruction` is the prompt of the video."""
    return f"{RUBRICS[metric].replace('{instruction}', instruction)}\n\n{FORMAT}"


def score(judge: Judge, shown: Any, asked: str, seeds: Sequence[int], max_retries: int) -> Verdict:
    """Ask once per seed, and again with a reminder while the reply has no score, at most `max_retries` times."""
    answers = tuple(_answer(judge, shown, asked, seed, max_retries) for seed in seeds)
    scores = [answer.score for answer in answers if answer.score is not None]
    if not scores:
        return Verdict(None, None, answers, "No reply of the judge contained a score from 1 to 5.")
    return Verdict(statistics.fmean(scores), statistics.stdev(scores) if len(scores) > 1 else None, answers)


def parse(text: str) -> int | None:
    """Return the score of a reply, or None if it has none, an invalid one or contradicting ones.

    Only the text after the reasoning is parsed: {"score": N} objects if any, else lines `Score: N` or
    `Score: N/5`.
    """
    if "<think>" in text and "</think>" not in text:
        return None  # cut off while still reasoning
    final = text.rsplit("</think>", 1)[-1]
    stated = [document["score"] for document in _objects(final) if "score" in document]
    found = {_valid(value) for value in (stated or SCORE_LINE.findall(final))}
    return found.pop() if len(found) == 1 else None


def _answer(judge: Judge, shown: Any, asked: str, seed: int, max_retries: int) -> Answer:
    text, found = "", None
    for attempt in range(1 + max_retries):
        words = asked if attempt == 0 else f"{asked}\n\n{REMINDER}"
        text = judge.ask(shown, words, seed * SEED_STRIDE + attempt)
        found = parse(text)
        if found is not None:
            break
    return Answer(seed, found, attempt + 1, text)


def _objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects in a text, outermost only."""
    decoder, found, start = json.JSONDecoder(), [], text.find("{")
    while start >= 0:
        try:
            document, end = decoder.raw_decode(text, start)
            found.append(document)
        except (json.JSONDecodeError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return found


def _valid(value: Any) -> int | None:
    if isinstance(value, str):
        out_of_five = OUT_OF_FIVE.match(value)
        bare = out_of_five.group(1) if out_of_five else value
        value = int(bare) if re.fullmatch(r"[0-9]", bare) else None
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return int(value) if is_number and value in range(LOWEST, HIGHEST + 1) else None
