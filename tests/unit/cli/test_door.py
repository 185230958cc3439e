from pathlib import Path

import pytest
import typer

from tao_skill_bank.cli import door
from tao_skill_bank.errors import RequestError


def _refused(arguments):
    with pytest.raises(RequestError) as caught:
        door.require_plain(arguments)
    assert all(problem.fix and "\n" not in problem.message for problem in caught.value.problems)
    return [problem.path for problem in caught.value.problems]


@pytest.mark.parametrize("value", ["a\nb", "a\0", "\x1b[2J", "\ud800", "a" * 5000, ["plain", "a\tb"], ("a\rb",)])
def test_an_argument_that_is_no_plain_line_is_refused(value):
    assert _refused({"results_dir": value}) == ["results-dir"]


@pytest.mark.parametrize("value", [None, True, 3, 2.5, "a b", [], ["a", "b"], Path("a/b"), "a" * 300])
def test_plain_arguments_pass(value):
    assert door.require_plain({"any": value}) is None
    assert _refused({"any": value, "other": "a\nb"}) == ["other"]


@pytest.mark.parametrize("name", door.PROSE)
def test_options_that_take_prose_keep_its_line_ends_and_refuse_what_cannot_be_written(name):
    door.require_plain({name: ["two\nlines", "a\tb"]})
    assert _refused({name: ["\x1b[2J"]}) == [name]


@pytest.mark.parametrize("value", [Path("a\nb"), Path("a" * 256), Path("/".join(["ab"] * 1500))])
def test_a_path_is_one_that_a_file_system_holds(value):
    assert _refused({"out": value}) == ["out"]


def test_all_faults_are_named_at_once_by_the_names_that_people_write():
    assert _refused({"results_dir": "a\n", "list_": ["b\n", "c\n"], "fine": "d"}) == ["results-dir", "list", "list"]


def test_every_command_below_a_guarded_one_goes_through_the_door():
    app, inner = typer.Typer(), typer.Typer()
    seen = []

    @app.command()
    def outer(name: str) -> None:
        seen.append(name)

    @inner.command()
    def deep(name: str, say: str = "") -> None:
        seen.append((name, say))

    @inner.command()
    def other() -> None:
        seen.append("other")

    app.add_typer(inner, name="inner")
    root = typer.main.get_command(app)
    door.guard(root)
    for arguments in (["outer", "a\nb"], ["inner", "deep", "a\nb"], ["inner", "deep", "a", "--say", "\x1b"]):
        with pytest.raises(RequestError):
            root.main(arguments, standalone_mode=False)
    assert seen == []
    root.main(["outer", "a"], standalone_mode=False)
    root.main(["inner", "deep", "a", "--say", "two\nlines"], standalone_mode=False)
    assert seen == ["a", ("a", "two\nlines")]
