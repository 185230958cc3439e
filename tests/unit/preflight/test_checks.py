import sys
from types import ModuleType

import pytest

from tao_skill_bank.preflight import checks


def module_with(check):
    module = ModuleType("toy_check")
    module.__file__ = "/rooms/toy_check.py"
    module.check = check
    return module


def test_a_check_asks_for_facts_by_the_names_of_its_parameters():
    class Known:
        job, records = "the job", ["a record"]

    check = checks.of(module_with(lambda job, records: [job, *records]))
    assert check.needs == ("job", "records")
    assert check.run(Known()) == ["the job", "a record"]


def test_a_check_that_asks_for_what_is_not_known_is_an_error_with_its_file_and_the_parameter():
    with pytest.raises(TypeError, match=r"/rooms/toy_check\.py: check asks for 'weather'"):
        checks.of(module_with(lambda job, weather: [job, weather]))


def test_a_new_file_in_a_room_is_a_check(tmp_path, monkeypatch):
    from tao_skill_bank.preflight import machine

    (tmp_path / "zebra.py").write_text("def check(job):\n    return [job]\n")
    (tmp_path / "helper.py").write_text("def other():\n    return 1\n")
    monkeypatch.setattr(machine, "__path__", [*machine.__path__, str(tmp_path)])
    checks.found.cache_clear()
    try:
        names = [check.module.__name__.rpartition(".")[2] for check in checks.found()]
    finally:
        checks.found.cache_clear()
        for name in ("zebra", "helper"):
            sys.modules.pop(f"tao_skill_bank.preflight.machine.{name}", None)
    assert names[-1] == "zebra"
    assert "helper" not in names
