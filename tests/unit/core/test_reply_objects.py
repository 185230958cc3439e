import pytest

from tao_skill_bank.core import reply_objects


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '```json\n{"a": 1}\n```',
        'Sure: {"a": 1}. Anything else?',
        '<think>{"a": 2}</think>{"a": 1}',
        'I think {"a": 2} or so.</think> {"a": 1}',
        '{"b": 3} {"a": 1,}',
        '{broken {"a": 1}',
        '{"a": 2} No: {"a": 1}',
    ],
)
def test_the_object_of_a_reply_is_found_wherever_it_stands(text):
    assert reply_objects.find(text, "a")["a"] == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        ("I cannot.", "I cannot"),
        ('["a"]', "no JSON object"),
        ('{"b": 1}', "no JSON object with 'a'"),
        ('<think>{"a": 1}', "ends before its thoughts"),
        ('{"a":' * 5000, "no JSON object"),
        ("x" * 1_000_001, "more than"),
    ],
)
def test_a_reply_without_it_says_what_is_there_instead(text, told):
    with pytest.raises(ValueError, match=told):
        reply_objects.find(text, "a")


def test_an_object_inside_another_is_not_taken_for_the_reply():
    assert reply_objects.find('{"a": {"a": 1}}', "a") == {"a": {"a": 1}}
