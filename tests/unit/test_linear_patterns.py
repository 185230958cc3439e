"""Every regular expression of the package takes time in proportion to its text, however the text is made."""

import re
import time
from itertools import islice

import patterns
import pytest

from tao_skill_bank.core import tags

LENGTH = 6000
MAX_SECONDS = 0.02  # of CPU; below it nothing grows that matters
MAX_GROWTH = 9  # of the time where a text is four times as long: 4 in proportion, 16 quadratic
MAX_ATTACKS = 30
# place: why its time does not matter, or where it is limited
EXEMPT = {
    "core/redact": "masks logs: its patterns have a suite of their own",
    "core/tags.py": "one tag, which has no repetition",
    "core/safe_pattern.py": "patterns of a request, which it has looked at before",
    "models/cosmos_reason/named_parts.py": "patterns of a request that core/safe_pattern has admitted",
    "authoring/generated_files.py": "reads our own references only",
    "jobs/failure_rules.py": "patterns of failures.yaml, on lines that are cut",
    "core/prefilter.py": "escaped words only",
    "data/records/usual.py": "escaped words only",
    "planning/metric_words.py": "escaped names of metrics, and our own words",
    "platforms/docker/client.py": "words of the daemon",
    "platforms/kubernetes/client.py": "words of the cluster",
    "platforms/slurm/client.py": "words of the cluster",
}
METHODS = {"platforms/kubernetes/options.py": "fullmatch", "platforms/slurm/options.py": "fullmatch"}  # in a table
USED, UNKNOWN = patterns.in_source()
CHECKED = [used for used in USED if not any(used.place.startswith(place) for place in EXEMPT)]


def test_every_pattern_is_known_to_this_test_or_exempt_with_a_reason():
    allowed = {*EXEMPT, "platforms/docker/options.py: form"}  # the values of FORMS, which are tested below
    assert [place for place in UNKNOWN if not any(place.startswith(known) for known in allowed)] == []
    assert len(CHECKED) > 80


@pytest.mark.parametrize("used", CHECKED, ids=lambda used: used.place)
def test_a_pattern_takes_time_in_proportion_to_the_text(used):
    folder = used.place.partition(":")[0]
    methods = used.methods or {METHODS.get(folder, "finditer")}
    for text in islice(patterns.attacks(used.pattern, LENGTH), MAX_ATTACKS):
        for method in methods:
            assert _is_linear(used.pattern, method, text), (method, text[:60])


def test_the_options_of_docker_take_time_in_proportion_to_their_values():
    from tao_skill_bank.platforms.docker import options

    for form, _ in options.FORMS.values():
        pattern = re.compile(form, re.ASCII)
        for text in islice(patterns.attacks(pattern, LENGTH), MAX_ATTACKS):
            assert _is_linear(pattern, "fullmatch", text), (form, text[:60])


@pytest.mark.parametrize("quadratic", [r"\s*<(video|image)>", r"<a>.*?</a>", r"\{\W*(?:t\{)?\W*[a-z]", r"(\w+)=(\S*)"])
def test_a_pattern_whose_time_grows_faster_is_found(quadratic):
    pattern = re.compile(quadratic, re.DOTALL)
    assert not all(_is_linear(pattern, "finditer", text) for text in patterns.attacks(pattern, LENGTH))


@pytest.mark.parametrize("text", ["<answer>" * 30_000, "</answer>" * 30_000, "<answer></answer>" * 15_000])
def test_tags_are_found_in_one_pass(text):
    start = time.process_time()
    tags.inside(text, "answer")
    assert time.process_time() - start < 1


def test_a_tag_reaches_to_its_next_end_in_any_letter_case():
    text = "a <answer>b</Answer> c <answer> d <answer> e </answer> f </answer> <answer> g"
    assert tags.inside(text, "answer") == ["b", " d <answer> e "]
    assert tags.without(text, "answer") == "a  c  f </answer> <answer> g"


def _is_linear(pattern, method, text):
    """Whether a text takes little time, or no more than in proportion to a quarter of it, on a machine of any speed."""
    seconds = _seconds(pattern, method, text)
    return seconds < MAX_SECONDS or seconds < MAX_GROWTH * _seconds(pattern, method, text[: len(text) // 4], 0)


def _seconds(pattern, method, text, enough=MAX_SECONDS):
    """Return the CPU time of the fastest of three tries, or of the first that is short enough."""
    found = []
    for _ in range(3):
        start = time.process_time()
        patterns.run(pattern, method, text)
        found.append(time.process_time() - start)
        if found[-1] < enough:
            break
    return min(found)
