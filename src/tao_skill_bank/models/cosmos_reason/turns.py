"""The questions of a conversation that an evaluation asks: the last one, or each of them after its own history."""

from dataclasses import dataclass, replace

from tao_skill_bank.models.cosmos_reason.conversation import Conversation, question_and_answer


@dataclass(frozen=True)
class Asked:
    """A question and its answer.

    Attributes:
        turn: number of the question among those of the conversation, from 1.
        prompt: the conversation up to the question, with the annotated answers to earlier ones.

    """

    turn: int
    prompt: Conversation
    text: str
    truth: str


def asked(conversation: Conversation, *, every: bool) -> list[Asked]:
    """Return the last question of a conversation, or every one: a user turn that an assistant turn follows.

    Raises:
        BlockedError: the conversation has no user turn followed by an assistant turn.

    """
    messages = conversation.messages
    last = question_and_answer(conversation)
    answers = [
        index
        for index, message in enumerate(messages)
        if index and message["role"] == "assistant" and messages[index - 1]["role"] == "user"
    ]
    if not every:
        return [Asked(len(answers), *last)]
    return [_up_to(conversation, turn, index) for turn, index in enumerate(answers, start=1)]


def _up_to(conversation: Conversation, turn: int, answer: int) -> Asked:
    before = replace(conversation, messages=conversation.messages[: answer + 1])
    return Asked(turn, *question_and_answer(before))
