"""A pickle is read as long as it asks for nothing but what is admitted."""

import pickle
import pickletools
from collections import OrderedDict
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hostile import NAME, Hostile

from tao_skill_bank.core import admitted_pickle
from tao_skill_bank.core.admitted_pickle import RefusedPickleError

ADMITTED = frozenset({("collections", "OrderedDict"), ("fractions", "Fraction"), ("collections", "Counter")})


def load(data: bytes) -> Any:
    return admitted_pickle.load(BytesIO(data), ADMITTED)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_admitted_type_is_read_in_every_protocol(protocol: int) -> None:
    value = {"a": OrderedDict(b=[1, 2.5, None, True, "c"]), "d": Fraction(1, 3)}
    assert load(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_not_admitted_is_named_and_not_run(protocol: int, tmp_path: Path) -> None:
    data = pickle.dumps({"a": Hostile(tmp_path / "mark")}, protocol)
    with pytest.raises(RefusedPickleError, match=f"it asks for {NAME}"):
        load(data)
    assert not (tmp_path / "mark").exists()
    pickle.loads(data)
    assert (tmp_path / "mark").is_dir()  # as whoever loads it plainly would find out


def test_a_name_below_an_admitted_one_is_not_admitted() -> None:
    data = b"\x80\x04\x8c\x09fractions\x8c\x0dFraction.real\x93."
    assert [op.name for op, _, _ in pickletools.genops(data)][-2] == "STACK_GLOBAL"
    with pytest.raises(RefusedPickleError, match=r"fractions\.Fraction\.real"):
        load(data)


def test_a_pickle_cannot_change_an_admitted_class() -> None:
    data = b"\x80\x02ccollections\nCounter\nN}X\x04\x00\x00\x00evilK\x01s\x86b."
    with pytest.raises(RefusedPickleError, match=r"it changes collections\.Counter"):
        load(data)
    changed = pickle.loads(data)
    assert changed.evil == 1  # a plain reader lets it
    del changed.evil


@pytest.mark.parametrize("data", [b"", b"\x80", b"junk", b"R.", b"\x80\x04]\x94e.", bytes(range(0x80, 0xC0)) * 4])
def test_damage_is_an_error_of_reading(data: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError)):
        load(data)
