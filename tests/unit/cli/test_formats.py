"""Who gets which format: options first, then $TAO_FORMAT, then the variables of agents' clients."""

import json

import pytest
import typer
from runs import make_job, make_record
from typer.testing import CliRunner

from tao_skill_bank.cli import formats, main, output
from tao_skill_bank.cli.formats import Format
from tao_skill_bank.contracts import Finding, State, Transition, to_json
from tao_skill_bank.core import settings
from tao_skill_bank.errors import RequestError
from tao_skill_bank.jobs.store import JobStore


@pytest.mark.parametrize("name", settings.AGENT_VARIABLES)
def test_each_client_of_agents_is_recognised(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert formats.chosen(None, as_json=False) is Format.HUMAN
    for value in ("", "0", "false"):
        monkeypatch.setenv(name, value)
        assert formats.chosen(None, as_json=False) is Format.HUMAN
    monkeypatch.setenv(name, "1")
    assert formats.chosen(None, as_json=False) is Format.AGENT
    assert formats.of_words(["jobs"]) is Format.AGENT


@pytest.mark.parametrize(
    ("words", "variable", "expected"),
    [
        ((), None, Format.AGENT),
        ((), "human", Format.HUMAN),
        ((), "JSON", Format.JSON),
        (("--format", "agent"), "json", Format.AGENT),
        (("--format=human",), "json", Format.HUMAN),
        (("--format", "json"), None, Format.JSON),
        (("--json",), "human", Format.JSON),
        (("--json", "--format", "json"), "human", Format.JSON),
    ],
)
def test_an_option_wins_over_the_variable_and_that_over_the_client(
    words: tuple[str, ...], variable: str | None, expected: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDECODE", "1")
    if variable:
        monkeypatch.setenv("TAO_FORMAT", variable)
    option = next((Format(word.removeprefix("--format=")) for word in words if not word.startswith("--j")
                   and word.removeprefix("--format=") in {*Format}), None)  # fmt: skip
    assert formats.chosen(option, as_json="--json" in words) is expected
    assert formats.of_words(["jobs", *words]) is expected


def test_contradictions_and_unknown_formats_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RequestError, match="--json and --format agent contradict"):
        formats.chosen(Format.AGENT, as_json=True)
    monkeypatch.setenv("TAO_FORMAT", "xml")
    with pytest.raises(RequestError, match="TAO_FORMAT is 'xml'; expected one of human, agent, json"):
        formats.chosen(None, as_json=False)
    assert formats.chosen(Format.HUMAN, as_json=False) is Format.HUMAN
    assert formats.of_words(["jobs"]) is Format.HUMAN  # in which its error is printed


def test_every_command_takes_a_format_and_json() -> None:
    def commands(group):
        for child in group.commands.values():
            yield from commands(child) if hasattr(child, "commands") else [child]

    found = list(commands(typer.main.get_command(main.app)))
    assert len(found) > 25
    for command in found:
        options = {word for parameter in command.params for word in parameter.opts}
        assert {"--format", "--json"} <= options, command.name


@pytest.mark.parametrize("words", [("--json",), ("--format", "json"), ()])
def test_a_command_prints_the_same_document_however_json_is_asked_for(words, monkeypatch) -> None:
    if not words:
        monkeypatch.setenv("TAO_FORMAT", "json")
    document = json.loads(CliRunner().invoke(main.app, ["jobs", *words]).stdout)
    assert (document["ok"], document["jobs"]) == (True, [])


def test_a_list_of_jobs_is_short_unless_the_full_records_are_asked_for(tmp_path) -> None:
    ended = (Transition("2026-01-01T00:00:00+00:00", State.COMPLETE),)
    record = make_record(make_job(tmp_path / "run"), transitions=ended, terminal_state=State.COMPLETE)
    JobStore().create(record)
    run = CliRunner().invoke
    (entry,) = json.loads(run(main.app, ["jobs", "--json"]).stdout)["jobs"]
    assert (entry["id"], entry["state"], entry["results_dir"]) == (record.id, "COMPLETE", record.results_dir)
    assert not {"backend_ref", "transitions", "why"} & entry.keys()
    assert json.loads(run(main.app, ["jobs", "--json", "--full"]).stdout)["jobs"] == [to_json(record)]


def test_the_next_command_has_no_options_of_the_output() -> None:
    words = ["toy", "train", "--format", "agent", "--json", "--full", "--say", "a", "--format=json", "--show-files"]
    assert formats.without_output_options(words) == ["toy", "train", "--say", "a"]


@pytest.mark.parametrize("how", [Format.HUMAN, Format.AGENT])
def test_a_piped_table_keeps_its_header(how: Format, capsys: pytest.CaptureFixture[str]) -> None:
    with formats.using(how):
        output.print_rows(("job", "state"), [("a", "b\nc")])
        output.print_rows(("", ""), [("key", 1)])
    assert capsys.readouterr().out == "job\tstate\na\tb\\nc\nkey\t1\n"


def test_agents_get_no_tables_colours_or_bars_even_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(typer, "echo", lambda text="", **_: print(text))  # echo itself drops colours of pipes
    with formats.using(Format.AGENT):
        output.print_rows(("job",), [("a",)])
        output.print_findings([Finding("few_steps", "warning", "Few steps.")])
        assert output.progress_console().is_terminal is False
        assert output.progress_percent() == 10
    assert capsys.readouterr().out == "job\na\nwarning: Few steps.\n"


@pytest.mark.parametrize("words", [["plan", "--help"], ["data", "--help"], ["--help"]])
def test_agents_get_help_without_boxes(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with formats.using(Format.AGENT):
        assert main._run(words, as_json=False) == 0
    shown = capsys.readouterr().out
    assert "Usage: tao-skills" in shown
    assert shown.isascii()
