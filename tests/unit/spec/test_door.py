import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.bank import schema as schemas
from tao_skill_bank.contracts import DatasetPaths, PlatformRequest, Request
from tao_skill_bank.errors import RequestError
from tao_skill_bank.spec import door

LONG_NAME = "a" * 256


def _refused(**fields):
    with pytest.raises(RequestError) as caught:
        door.require_plain(Request(**{"skill": "toy", "action": "train", **fields}))
    for problem in caught.value.problems:
        assert problem.code == "hostile_text"
        assert problem.fix
        assert "\n" not in f"{problem.message}{problem.fix}{problem.path}{problem.got}"
    return {problem.path for problem in caught.value.problems}


def _admit(**fields):
    door.require_plain(Request(**{"skill": "toy", "action": "train", **fields}))


@pytest.mark.parametrize(
    ("field", "holding"),
    [
        ("skill", lambda text: text),
        ("action", lambda text: text),
        ("results_dir", lambda text: text),
        ("parent_job_id", lambda text: text),
        ("checkpoint", lambda text: text),
        ("image", lambda text: text),
        ("datasets.train", lambda text: {"train": text}),
        ("datasets.train.media_path", lambda text: {"train": DatasetPaths(annotation_path="a", media_path=text)}),
        ("platform.options.partition", lambda text: PlatformRequest(options={"partition": text})),
        (
            "platform.options.node_selector.zone.0",
            lambda text: PlatformRequest(options={"node_selector": {"zone": [text]}}),
        ),
        ("automl.metric", lambda text: {"metric": text}),
    ],
)
@pytest.mark.parametrize("character", ["\n", "\0", "\x1b", "\u2028", "\ud800"])
def test_control_characters_are_refused_in_every_name_path_and_option(field, holding, character):
    name = field.partition(".")[0]
    assert _refused(**{name: holding(f"a{character}b")}) == {field}
    _admit(**{name: holding("a b")})


@pytest.mark.parametrize("field", ["datasets", "platform", "automl", "overrides"])
def test_a_key_is_a_name_wherever_it_is(field):
    for keyed in ({"a\nb": "c"}, {"deep": {"a\nb": 1}}, {"list": [{"a\nb": 1}]}):
        if field == "datasets" and "a\nb" not in keyed:
            continue
        value = PlatformRequest(options=keyed) if field == "platform" else keyed
        assert len(_refused(**{field: value})) == 1


@pytest.mark.parametrize("field", ["results_dir", "checkpoint", "datasets"])
def test_a_name_that_no_file_system_holds_is_refused_in_paths(field):
    _refused(**{field: {"train": LONG_NAME} if field == "datasets" else LONG_NAME})
    remote = f"s3://bucket/{LONG_NAME}"
    _admit(**{field: {"train": remote} if field == "datasets" else remote})


def test_the_prompt_and_overrides_are_prose_at_first_and_hold_nothing_that_cannot_be_written():
    _admit(prompt="two\nlines\twith a tab", overrides={"any": "two\nlines", "list": ["\t"]})
    assert _refused(prompt="\x1b[2J", overrides={"any": "\0", "list": ["a", "\ud800"]}) == {
        "prompt",
        "overrides.any",
        "overrides.list.1",
    }


def test_all_faults_of_a_request_are_named_at_once():
    paths = {"results_dir", "image", "checkpoint"}
    assert _refused(**dict.fromkeys(paths, "a\tb")) == paths


@pytest.mark.parametrize(
    "skill", [skill for skill in catalog.skills() if skill.runs_actions], ids=lambda skill: skill.name
)
def test_only_parameters_that_their_schema_calls_free_text_are_prose(skill):
    for action in skill.info.actions:
        schema = skill.schema(action)
        leaves = dict(schemas.leaves(schema))
        values = {}
        for path in leaves:
            _set(values, path, "two\nlines")
        refused = {problem.path for problem in door.value_problems(schema, values)}
        assert refused == {path for path, leaf in leaves.items() if not leaf.get("free_text")}


def _set(values, path, value):
    *parents, name = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    values[name] = value
