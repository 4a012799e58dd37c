"""Blocks of numbers parsed at once, by pyarrow or NumPy: what they take, and how they round."""

from __future__ import annotations

import random
import struct
import sys

import numpy as np
import pytest

from estep_xp.cli.read import delimited, numbers
from estep_xp.cli.text.numbers import parse_number
from estep_xp.files.errors import InputError
from tests.commands import needs_pyarrow
from tests.data_files import MINUS, read

BY_ARROW = pytest.param(0, marks=needs_pyarrow)
TOKENS = [
    *("1", "-1", "+1", "1.", ".5", "-.5", "1e5", "1E-5", "1e+5", "007", "-0", "0.1", " 1", "1 "),
    *("", " ", "nan", "NaN", "inf", "-Infinity", "1e400", "-1e400", "1e-400", "5e-324", "1_000"),
    *("1,5", "0x10", "0x1p3", "1d5", "1e", "e5", "--1", "+-1", "1f", "1.5.2", "NA", "null", "TRUE"),
    *(
        "true",
        "#N/A",
        "1\t",
        "\t1",
        "\xa01",
        "１",
        "٣",
        f"{MINUS}1",
        "1\x002",
        "1\r",
        "nan(0)",
        "1j",
    ),
    *(
        "∞",
        "1'000",
        "1 000",
        "$1",
        "5%",
        "2024-01-01",
        "12:30",
        "0b1",
        "1e5.0",
        "infinity",
        "\x1f1",
    ),
]


@pytest.fixture(params=[BY_ARROW, sys.maxsize], ids=["pyarrow", "numpy"])
def parse(request, monkeypatch):
    monkeypatch.setattr(numbers, "_WORTH_AN_IMPORT", request.param)
    return numbers.parse_numbers


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_block_takes_no_more_than_a_field(parse, token, delimiter):
    text = f"1{delimiter}2\n{token}{delimiter}4\n5{delimiter}6\n"
    found = parse(text, delimiter, ".", 2, [0, 1])
    try:
        expected = parse_number(token)
    except ValueError:
        assert found is None
    else:
        assert found is None or found.tolist() == [[1, 2], [expected, 4], [5, 6]]
    alone = parse(f"{token}\n", ",", ".", 1, [0])
    assert alone is None or alone.tolist() == [[parse_number(token)]]


def hard_numbers():
    """Decimals on which a careless parser rounds wrongly."""
    rng = random.Random(4)
    for _ in range(300):
        (number,) = struct.unpack("<d", rng.randbytes(8))
        if number == number and abs(number) < 1e308:
            yield repr(number)
            yield f"{number:.25e}"
            yield f"{number:.17g}"
    for _ in range(100):
        mantissa = 2 * rng.getrandbits(52) + 1 + (1 << 53)  # halfway between two floats
        yield from (str(mantissa), f"{mantissa}.{'0' * 30}1", f"{mantissa - 1}.{'9' * 30}")
    yield from ("2.2250738585072011e-308", "4.9e-324", "2.4703282292062327e-324", "1e23", "9e-324")
    yield "0." + "0" * 320 + "123456789"
    yield "1" + "0" * 300
    yield "8.98846567431158" + "0" * 700 + "1e307"


def test_floats_are_those_of_python(parse):
    words = list(hard_numbers())
    found = parse("\n".join([*words, ""]), ",", ".", 1, [0])
    assert found is not None
    np.testing.assert_array_equal(
        found[:, 0].view(np.int64), np.array(list(map(float, words))).view(np.int64)
    )


def test_columns_that_are_not_read_may_hold_anything(parse):
    text = "a\udce9,1,,2\n'x y,3,NaN,4\n"
    assert parse(text, ",", ".", 4, [3, 1]).tolist() == [[2, 1], [4, 3]]
    text = text.replace(",", ";").replace("1", "1,5")
    assert parse(text, ";", ",", 4, [3, 1]).tolist() == [[2, 1.5], [4, 3]]
    assert parse(text, ";", ".", 4, [3, 1]) is None


@pytest.mark.usefixtures("parse")
@pytest.mark.parametrize("bad", ["x", "nan", "", "1e999", "0x10"])
def test_errors_are_the_same(tmp_path, monkeypatch, bad):
    monkeypatch.setattr(delimited, "_BLOCK_SIZE", 64)
    lines = [f"{i}.5,{i}" for i in range(40)]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    assert read(tmp_path / "x.csv")[0] == [[i + 0.5, i] for i in range(40)]
    lines[30] = f"{bad},7"
    (tmp_path / "x.csv").write_text("\n".join(lines))
    shown = bad or "empty"
    with pytest.raises(InputError, match=rf"line 31: value 1 is {shown}; .*\(1 bad row: line 31\)"):
        read(tmp_path / "x.csv")
