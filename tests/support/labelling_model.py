"""A model that labels clips, as a scripted server plays it: it sees how many frames there are and what is asked."""

import json
import re
import threading

from chat_server import completion, question_of

USAGE = {"prompt_tokens": 100, "completion_tokens": 10}
CAPTION = {"caption": "A gray square gets brighter.", "events": [{"start": 0, "end": 1, "text": "It brightens."}]}
QUESTIONS = [
    {"form": "yes_no", "question": "Does it get brighter?", "answer": "Yes.", "reasoning": "It grows pale."},
    {
        "form": "choice",
        "question": "What gets brighter?",
        "choices": ["a circle", "a square"],
        "answer": "B",
        "reasoning": "Its corners.",
    },
    {"form": "open", "question": "What happens?", "answer": "the square gets brighter", "reasoning": "It changes."},
]


class Model:
    """Answers the requests of labelling. `answers` maps words of a question to its answer, in either pass.

    `overrides` maps a kind of request to what it answers instead: a text, or what the server sends.
    """

    def __init__(self, answers=None, overrides=None):
        self.answers, self.overrides = answers or {}, overrides or {}
        self.asked, self.lock = [], threading.Lock()

    def __call__(self, body):
        kind = kind_of(body)
        with self.lock:
            self.asked.append(kind)
        reply = self.overrides.get(kind)
        if callable(reply):
            reply = reply(body)
        if reply is None:
            reply = self._usual(kind, question_of(body))
        if isinstance(reply, tuple):
            return reply
        return 200, completion(reply, usage=USAGE), {}

    def _usual(self, kind, text):
        if kind == "captions":
            return f"Sure!\n```json\n{json.dumps(CAPTION)}\n```"
        if kind == "description":
            return json.dumps({"description": "A gray square gets brighter within a second."})
        if kind == "questions":
            return f"<think>{{hm}}</think>{json.dumps({'questions': QUESTIONS})}"
        numbered = re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE)
        said = [
            {"number": int(number), "answer": answer, "reasoning": "Seen."}
            for number, question in numbered
            for words, answer in self.answers.items()
            if words in question
        ]
        return json.dumps({"answers": said})


def kind_of(body):
    """Return what a request asks for, by the form of its reply."""
    text = question_of(body)
    names = {"caption": "captions", "description": "description", "questions": "questions", "answers": "answers"}
    return names[re.search(r'nothing else: {"(\w+)"', text)[1]]


def num_images(body):
    return sum(part["type"] == "image_url" for part in body["messages"][0]["content"])
