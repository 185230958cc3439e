"""Spec of the label action: clips to captions, a description, questions and answers."""

from typing import Annotated, Literal

from pydantic import Field

from tao_skill_bank.bank.parameters import group, parameter, spec_dataclass

Form = Literal["yes_no", "choice", "open"]
Step = Literal["captions", "description", "questions"]
Domain = Literal["general", "traffic", "warehouse"]
Host = Annotated[str, Field(pattern=r"^[^\s/@]+$")]


@spec_dataclass
class Endpoint:
    """The OpenAI-compatible server of the vision language model."""

    url: str = parameter(
        doc="Base URL, such as http://127.0.0.1:8000/v1 of a server on this machine.",
        pattern=r"^https?://",
        popular=True,
    )
    model: str = parameter("", doc="The server's name of the model; empty uses its only one.", popular=True)
    api_key_variable: str = parameter(
        "OPENAI_API_KEY", doc="Environment variable with the server's API key, if it needs one.", min_length=1
    )
    allow_hosts: list[Host] = parameter(
        [], doc="Hosts other than this machine that may get frames of the clips.", popular=True
    )
    timeout_seconds: float = parameter(120.0, doc="Timeout of one request.", above=0)
    max_retries: int = parameter(
        5, doc="Retries after a lost connection, a timeout or a busy server, with exponential backoff.", minimum=0
    )
    concurrency: int = parameter(4, doc="Clips that are labelled at a time.", minimum=1, maximum=256)
    price_per_million_input_tokens: float | None = parameter(
        None, doc="Price of a million input tokens, for the cost in plans and results.", minimum=0
    )
    price_per_million_output_tokens: float | None = parameter(
        None, doc="Price of a million output tokens, in the same currency.", minimum=0
    )


@spec_dataclass
class Question:
    """A question that is asked of every clip, in the words of its record."""

    question: Annotated[str, Field(min_length=1, json_schema_extra={"free_text": True})]
    choices: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)


@spec_dataclass
class SecondPass:
    """Every question is answered a second time from the frames, without the first answer."""

    enable: bool = parameter(False, doc="Answer again and report how often both answers agree.", popular=True)
    model: str = parameter("", doc="Model of the same server that answers again; empty asks the first one.")
    min_agreement: float = parameter(
        0.0,
        doc="Keep only records that agree at least so much: 1 or 0 for yes/no and choices, the word overlap for open "
        "answers.",
        minimum=0,
        maximum=1,
        popular=True,
    )


@spec_dataclass
class LabelConfig:
    """Label clips: captions, a description, questions and answers, as LLaVA records."""

    clips: str = parameter(
        doc="Folder of mp4 files, a list of clips (.txt with a path per line, .jsonl of objects with path, media_path "
        "or video), or annotations (.json) whose clips are labelled.",
        min_length=1,
        popular=True,
    )
    media_dir: str | None = parameter(
        None, doc="Folder that the names of a list or of annotations are relative to; by default its own.", min_length=1
    )
    endpoint: Endpoint = parameter(doc="The server that labels.")
    steps: list[Step] = parameter(
        ["captions", "description", "questions"],
        doc="What is asked of each clip; description and generated questions rest on the captions.",
        min_length=1,
    )
    domain: Domain = parameter("general", doc="Packaged prompts that are used.", popular=True)
    prompts: str | None = parameter(
        None, doc="Folder with own prompt files, which replace packaged ones of the same names.", min_length=1
    )
    questions: list[Question] = parameter(
        [],
        doc="Questions that are asked of every clip, each {question, choices}; the choices yes and no make a yes/no "
        "question, no choices an open one.",
        popular=True,
    )
    questions_per_clip: int = parameter(3, doc="Further questions that the model makes up for each clip.", minimum=0)
    question_forms: list[Form] = parameter(
        ["yes_no", "choice", "open"], doc="Forms of the questions that the model makes up.", min_length=1
    )
    reasoning: bool = parameter(False, doc="Ask for reasons, and write them before the answer, in think tags.")
    num_frames: int = parameter(8, doc="Frames of a clip, evenly spread over it.", minimum=1, maximum=512, popular=True)
    longest_side_pixels: int = parameter(
        768, doc="Frames are downscaled to this length of their longer side.", minimum=32, maximum=4096
    )
    max_tokens: int = parameter(1024, doc="Longest reply in tokens.", minimum=16)
    temperature: float = parameter(0.2, doc="Sampling temperature; 0 is greedy.", minimum=0, maximum=2)
    seed: int = parameter(0, doc="Seed of sampling, as far as the server has one.", minimum=0)
    attempts: int = parameter(
        2,
        doc="Requests for one reply, where it cannot be read, before its clip fails.",
        minimum=1,
        maximum=10,
    )
    pilot: int | None = parameter(
        None,
        doc="Label only N of the clips, chosen by a hash of their names, and end: a later run in the same run "
        "directory labels the others.",
        minimum=1,
        popular=True,
    )
    second_pass: SecondPass = group(SecondPass, doc="Agreement by a second pass.")
    max_failed_share: float = parameter(
        0.1, doc="The job fails if more than this share of the clips cannot be labelled.", minimum=0, maximum=1
    )
    results_dir: str | None = parameter(
        None, doc="Run directory; gets annotations.json, captions.jsonl and labels.jsonl.", min_length=1
    )
