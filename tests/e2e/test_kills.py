"""Whatever process is killed at whatever event: states stay true, nothing is lost or done twice, and there is a way on.

Without `--kills` one kill of each cheap stage; `make kill` makes 200 over all stages, `--first-kill 200` the next ones.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")

import kill_supplies
from kill_stages import STAGES
from kill_supplies import Supplies
from kills import Stage, World, environment_of, events_of, kill_of, survive

ATTEMPTS = 3  # at earlier events, where the command ended before the first one


def pytest_generate_tests(metafunc):
    if "seed" in metafunc.fixturenames:
        wanted, first = metafunc.config.getoption("--kills"), metafunc.config.getoption("--first-kill")
        names = sorted(STAGES) if wanted else [name for name, stage in STAGES.items() if stage.is_cheap]
        cases = [(names[seed % len(names)], seed) for seed in range(first, first + (wanted or len(names)))]
        metafunc.parametrize(("name", "seed"), cases)


@pytest.fixture(scope="session")
def supplies(tmp_path_factory) -> Supplies:
    return Supplies(tmp_path_factory.mktemp("supplies"))


@pytest.fixture(scope="session")
def counted() -> dict[str, int]:
    """Return how many events each stage has, as far as it was counted."""
    return {}


@pytest.fixture(scope="session")
def fired() -> Iterator[Counter[str]]:
    """Count the kills of each stage that hit a process, and print them at the end."""
    counter: Counter[str] = Counter()
    yield counter
    print("kills that hit a process:", dict(counter))


@pytest.fixture
def stage(name, supplies, request) -> Stage:
    """Return a stage, whose objects lie in a store of its own."""
    if STAGES[name].reads_store:
        kill_supplies.fill(request.getfixturevalue("store"), supplies)
    return STAGES[name]


@pytest.fixture
def new_world(stage, third_skill, supplies, tmp_path) -> Callable[[str], World]:
    def make(name: str) -> World:
        folder: Path = tmp_path / name
        folder.mkdir()
        return World(folder, environment_of(folder, str(third_skill), os.environ["PYTHONPATH"]), supplies)

    return make


@pytest.fixture
def events(stage, counted, new_world, request) -> int:
    """Return how many events of a stage there are to choose from."""
    if not request.config.getoption("--kills"):
        return stage.events
    if stage.name not in counted:
        counted[stage.name] = events_of(new_world("counting"), stage)
    return counted[stage.name]


@pytest.mark.slow
def test_a_killed_stage_keeps_its_states_true_and_leads_on(stage, seed, events, new_world, fired):
    for attempt in range(ATTEMPTS):
        if survive(new_world(f"world_{attempt}"), stage, kill_of(stage, seed, max(1, events >> attempt))):
            fired[stage.name] += 1
            return
    pytest.fail(f"{stage.name}: no kill hit a process in {ATTEMPTS} attempts")
