"""What is asked about one clip: captions, a description, questions, answers, and answers again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tao_skill_bank.models.label_videos import answers, frames, replies
from tao_skill_bank.models.label_videos.answers import Answered, Asked, Captions
from tao_skill_bank.models.label_videos.clip_pool import PoolClip
from tao_skill_bank.models.label_videos.config import LabelConfig
from tao_skill_bank.models.label_videos.frames import ShownClip
from tao_skill_bank.models.label_videos.prompt_files import Prompts
from tao_skill_bank.models.label_videos.replies import UnusableReplyError
from tao_skill_bank.models.label_videos.server import Conversation


@dataclass(frozen=True)
class Labelled:
    """What was said of a clip."""

    video_fps: float
    captions: Captions | None = None
    description: str = ""
    answers: tuple[Answered, ...] = ()


@dataclass(frozen=True)
class Labeller:
    """The settings and prompts of a run."""

    config: LabelConfig
    prompts: Prompts

    def label(self, clip: PoolClip, conversation: Conversation) -> Labelled:
        """Return what the server says of a clip.

        Raises:
            BlockedError: the clip cannot be decoded.
            UnusableReplyError: a reply that everything else rests on cannot be used.
            TaoSkillsError: see `ChatEndpoint.reply`.

        """
        shown = frames.show(clip.path, self.config.num_frames, self.config.longest_side_pixels)
        steps, seen = self.config.steps, self._seen(shown)
        captions, description = None, ""
        if "captions" in steps:
            prompt = f"{self.prompts.filled('captions', **seen)}\n\n{replies.CAPTIONS}"
            captions = conversation.ask(prompt, shown.images, replies.captions)
        if captions is not None and "description" in steps:
            filled = self.prompts.filled(
                "description", duration_seconds=seen["duration_seconds"], captions=_listed(captions)
            )
            description = conversation.ask(f"{filled}\n\n{replies.DESCRIPTION}", (), replies.description)
        found: list[Answered] = []
        if "questions" in steps:
            known = description or (_listed(captions) if captions is not None else "")
            found = [*self._given(shown, conversation), *self._made_up(known, shown, conversation)]
            found = self._again(_once(found), shown, conversation)
        return Labelled(shown.rate, captions, description, tuple(found))

    def _seen(self, shown: ShownClip) -> dict[str, Any]:
        return {
            "num_frames": len(shown.images),
            "duration_seconds": f"{shown.duration_seconds:.1f}",
            "frame_seconds": ", ".join(f"{second:.1f}" for second in shown.seconds),
        }

    def _given(self, shown: ShownClip, conversation: Conversation) -> list[Answered]:
        """Return the answers to the user's questions; those that the reply does not answer are left out."""
        asked = [
            Asked(answers.form_of(each.choices), each.question, tuple(each.choices), is_given=True)
            for each in self.config.questions
        ]
        if not asked:
            return []
        found = conversation.ask(
            self._answers_prompt(shown, replies.numbered(asked), reasoning=self.config.reasoning),
            shown.images,
            partial(replies.answered, asked=asked, reasoning=self.config.reasoning),
        )
        return [each for each in found if each is not None]

    def _made_up(self, known: str, shown: ShownClip, conversation: Conversation) -> list[Answered]:
        config = self.config
        if not config.questions_per_clip:
            return []
        filled = self.prompts.filled(
            "questions",
            duration_seconds=f"{shown.duration_seconds:.1f}",
            description=known,
            num_questions=config.questions_per_clip,
            forms=", ".join(replies.FORMS[form] for form in config.question_forms),
        )
        read = partial(replies.questions, forms=config.question_forms, reasoning=config.reasoning)
        prompt = f"{filled}\n\n{replies.questions_form(reasoning=config.reasoning)}"
        return conversation.ask(prompt, (), read)[: config.questions_per_clip]

    def _again(self, found: Sequence[Answered], shown: ShownClip, conversation: Conversation) -> list[Answered]:
        """Return the answers with those of a second pass, which sees the frames and not the first answers."""
        if not self.config.second_pass.enable or not found:
            return list(found)
        asked = [each.asked for each in found]
        prompt = self._answers_prompt(shown, replies.numbered(asked, reverses=True), reasoning=False)
        try:
            second = conversation.ask(
                prompt, shown.images, partial(replies.answered, asked=asked, reasoning=False), by_second=True
            )
        except UnusableReplyError:
            second = [None] * len(asked)
        return [_compared(first, other) for first, other in zip(found, second, strict=True)]

    def _answers_prompt(self, shown: ShownClip, questions: str, *, reasoning: bool) -> str:
        filled = self.prompts.filled("answers", questions=questions, **self._seen(shown))
        return f"{filled}\n\n{replies.answers_form(reasoning=reasoning)}"


def _once(found: Sequence[Answered]) -> list[Answered]:
    """Return answers without those whose question another one asks as well; the user's questions come first."""
    unique: dict[str, Answered] = {}
    for each in found:
        unique.setdefault(" ".join(each.asked.record_text.lower().split()), each)
    return list(unique.values())


def _compared(first: Answered, second: Answered | None) -> Answered:
    if second is None:
        return replace(first, second="", agreement=0.0)
    same = answers.agreement(first.asked, first.answer, second.answer)
    return replace(first, second=second.answer, agreement=same)


def _listed(captions: Captions) -> str:
    events = [
        f"- {event.text}" if event.start is None or event.end is None else
        f"- {event.start:.1f} to {event.end:.1f} s: {event.text}"
        for event in captions.events
    ]  # fmt: skip
    return "\n".join([captions.caption, *events])
