import object_store
import pytest


@pytest.fixture
def store(monkeypatch):
    with object_store.serving(monkeypatch) as running:
        yield running
