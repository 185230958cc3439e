import pytest

from tao_skill_bank.bank import catalog
from tao_skill_bank.contracts import Request, Route
from tao_skill_bank.models.cosmos_reason.scores import EVALUATION, UNWORDED
from tao_skill_bank.planning import metric_words

NAMES = {name for names in EVALUATION.values() for name in names} - UNWORDED
AUTOML, DIRECT = (Route(kind, "tao-skill-bank:x", "because") for kind in ("automl", "direct"))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Tune it for the best accuracy.", ("accuracy", "accuracy")),
        ("make it as accurate as possible", ("accuracy", "accurate")),
        ("maximise Balanced Accuracy", ("balanced_accuracy", "Balanced Accuracy")),
        ("the macro-F1 matters", ("macro_f1", "macro-F1")),
        ("best F1 score", ("f1", "F1")),
        ("rougeL please", ("rougeL", "rougeL")),
        ("recall, then accuracy", ("recall", "recall")),
        ("train in mixed precision", None),
        ("lowest validation loss", None),
        ("inaccuracy is fine, as are bleubirds", None),
        ("", None),
    ],
)
def test_a_metric_is_found_in_words_by_its_longest_name(prompt, expected):
    assert metric_words.named(prompt, NAMES) == expected


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_metric_is_found_by_its_own_name_and_with_spaces(name):
    assert metric_words.named(f"tune for {name}", NAMES)[0] == name
    assert metric_words.named(f"tune for {name.replace('_', ' ')}.", NAMES)[0] == name


@pytest.fixture
def findings_of(plain_job):
    def run(prompt, route=AUTOML, automl=None, datasets=None):
        skill = catalog.find("cosmos-reason")
        request = Request(skill.name, "train", prompt=prompt, automl=automl or {}, datasets=datasets or {})
        return metric_words.check(skill, request, route, plain_job)

    return run


@pytest.fixture
def plain_job(tmp_path):
    from preflight_worlds import make_job

    return make_job(tmp_path)


def test_a_search_by_a_loss_is_warned_of_where_the_words_want_an_accuracy(findings_of):
    (found,) = findings_of("tune for accuracy", datasets={"eval": "folder"})
    assert (found.code, found.severity, found.path) == ("metric_in_words", "warning", "automl.metric")
    assert "--automl metric=evaluate:accuracy (" in found.fix
    (other,) = findings_of("tune for f1", datasets={"eval": "folder"})
    assert "--automl metric=evaluate:f1 --automl direction=maximize" in other.fix
    assert "--eval PATH" in findings_of("tune for accuracy")[0].fix


def test_a_metric_that_the_request_chose_and_a_plain_training_are_left_alone(findings_of):
    assert findings_of("tune for accuracy", automl={"metric": "val/avg_loss"}) == []
    assert findings_of("tune for accuracy", DIRECT) == []
