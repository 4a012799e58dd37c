"""Numbers that are typed, in fields and as options, and what is wrong with them."""

from __future__ import annotations

import pytest

from estep_xp.cli.read.inputs import read_inputs
from estep_xp.cli.text.errors import OptionError
from estep_xp.cli.text.numbers import parse_values
from estep_xp.cli.text.options import float_parser, integer_parser
from estep_xp.files.errors import InputError, format_line, show_token
from tests.data_files import BOM, MINUS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5, 1.2, 3.8", [0.5, 1.2, 3.8]),
        ("1,2,3", [1.0, 2.0, 3.0]),
        ("1 2\t3\n4\r\n5", [1.0, 2.0, 3.0, 4.0, 5.0]),
        ("1,2 3\n4", [1.0, 2.0, 3.0, 4.0]),
        ("1,2\n3,4\n", [1.0, 2.0, 3.0, 4.0]),
        (" 1 ,\n 2 ", [1.0, 2.0]),
        (f"{MINUS}1, +2, -3", [-1.0, 2.0, -3.0]),
        (f"1e{MINUS}3 1E+2", [1e-3, 100.0]),
        (".5 5. 0005", [0.5, 5.0, 5.0]),
        (f"{BOM}7", [7.0]),
        ("1,\N{NO-BREAK SPACE}2", [1.0, 2.0]),
        ("0,5", [0.0, 5.0]),
        ("0.1 1e-400 1.7976931348623157e308", [0.1, 0.0, 1.7976931348623157e308]),
    ],
)
def test_numbers_are_read(text, expected):
    assert parse_values("x", text).numbers == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x: value 1 is empty; must be a number"),
        (" \n", "x: value 1 is empty; must be a number"),
        ("1,,2", "x: value 2 is empty; must be a number"),
        ("1, 2,", "x: value 3 is empty; must be a number"),
        (",1", "x: value 1 is empty; must be a number"),
        ("1, abc", "x: value 2 is abc; must be a number"),
        ("1 nan", "x: value 2 is nan; must be a finite number"),
        ("-Infinity", "x: value 1 is -Infinity; must be a finite number"),
        ("1e400", "x: value 1 is 1e400; must be between -1.8e308 and 1.8e308"),
        ("0x10", "x: value 1 is 0x10; must be a number"),
        ("1_000", "x: value 1 is 1_000; must be a number"),
        ("1+2j", "x: value 1 is 1+2j; must be a number"),
        ("--1", "x: value 1 is --1; must be a number"),
        (f"1 {MINUS} 2", f"x: value 2 is {MINUS}; must be a number"),
        ("1.2.3", "x: value 1 is 1.2.3; must be a number"),
        ("1e", "x: value 1 is 1e; must be a number"),
        ("\N{FULLWIDTH DIGIT ONE}", "x: value 1 is \N{FULLWIDTH DIGIT ONE}; must be a number"),
        ("\N{ARABIC-INDIC DIGIT ONE}", "must be a number"),
        ("0,5; 1,2", "x: value 2 is '5;'; separate values by commas or white space, not semi"),
        ("1;2", "x: value 1 is '1;2'; separate values by commas or white space, not semicolons"),
        ("0,5 1,2", "x: value 1 is 0,5; write decimals with a point (0.5), not a comma"),
        ("3\n0,5 1,2", "x: value 2 is 0,5; write decimals with a point (0.5), not a comma"),
        ("2, 1,05", "x: value 2 is 1,05; write decimals with a point (0.5), not a comma"),
        ("1,000,000", "x: value 1 is 1,000,000; write decimals with a point"),
        ("1\x1b[31m", r"x: value 1 is 1\x1b[31m; must be a number"),
        ("1\x002", r"x: value 1 is 1\x002; must be a number"),
        ("1\x1f2", r"x: value 1 is 1\x1f2; must be a number"),
        ("\N{ZERO WIDTH SPACE}1", r"x: value 1 is \u200b1; must be a number"),
        ("\udcff", r"x: value 1 is \udcff; must be a number"),
        ("y" * 1000, f"x: value 1 is {'y' * 37}...; must be a number"),
    ],
)
def test_bad_numbers_are_named(text, message):
    with pytest.raises(InputError) as error:
        parse_values("x", text)
    assert message in str(error.value)
    assert format_line(str(error.value)) == str(error.value)


def test_an_error_carries_its_parts_for_the_page():
    with pytest.raises(InputError) as error:
        read_inputs("1", "2, 6", "1, -1")
    found = error.value
    assert (found.field, found.position, found.token) == ("variances", 2, "-1")
    assert found.expectation == "must be positive"
    assert found.reason == "value 2 is -1; must be positive"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (("1", "2", "0"), "variances: value 1 is 0; must be positive"),
        (("1", "2, 6", "1"), "variances: value 2 is missing; there must be 2 values, one for each"),
        (("1", "2, 6", "1, 2, 3"), "variances: value 3 is 3; there must be 2 values, one for each"),
        (("1", "2, 6", "1, 2", "1"), "weights: value 2 is missing; there must be 2 values"),
        (("1", "2, 6", "1, 2", "1 1 9"), "weights: value 3 is 9; there must be 2 values"),
        (("1", "2, 6", "1, 2", "0.5, -0.5"), "weights: value 2 is -0.5; must not be negative"),
        (("1", "2, 6", "1, 2", "0, 0"), "weights: value 1 is 0; at least one weight must be pos"),
        (("1", "", "1"), "means: value 1 is empty; must be a number"),
    ],
)
def test_fields_must_fit_each_other(texts, message):
    with pytest.raises(InputError) as error:
        read_inputs(*texts)
    assert str(error.value).startswith(message)


def test_weights_left_out_are_equal():
    weights = read_inputs("1", "2, 6, 7", "1, 2, 3").weights
    assert len(weights) == 3
    assert len(set(weights)) == 1


@pytest.mark.parametrize(
    ("token", "expected"),
    [("", "empty"), (" ", "empty"), ("a;b", "'a;b'"), ("a\nb", r"a\nb"), ("\x7f", r"\x7f")],
)
def test_tokens_are_shown_safely(token, expected):
    assert show_token(token) == expected


@pytest.mark.parametrize(("text", "expected"), [("3", 3), (" +3 ", 3), ("0", 0), ("007", 7)])
def test_whole_numbers_as_options(text, expected):
    assert integer_parser("--seed", minimum=0)(text) == expected


@pytest.mark.parametrize(
    "text", ["", "-1", "1.0", "1e3", "1_0", "x", "9" * 30, "\N{SUPERSCRIPT TWO}"]
)
def test_options_that_are_no_whole_number(text):
    at_most = ", of at most 18 digits" if len(text) > 18 else ""
    message = rf"^--seed: is .*; must be a whole number, 0 or more{at_most}$"
    with pytest.raises(OptionError, match=message):
        integer_parser("--seed", minimum=0)(text)


@pytest.mark.parametrize(("text", "expected"), [("0", 0.0), ("1e-6", 1e-6), (" .5 ", 0.5)])
def test_numbers_as_options(text, expected):
    assert float_parser("--tol")(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("-1", "--tol: is -1; must not be negative"),
        ("inf", "--tol: is inf; must be a finite number"),
        ("", "--tol: is empty; must be a number"),
        ("1 2", "--tol: is 1 2; must be a number"),
    ],
)
def test_options_that_are_no_number(text, message):
    with pytest.raises(OptionError) as error:
        float_parser("--tol")(text)
    assert str(error.value) == message
