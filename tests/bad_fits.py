"""The tables of bad calls of EM's functions: what is wrong, and the words that lead there.

Made like ``bad_input.py``: one good call a function, some of whose arguments a case replaces.
"""

from __future__ import annotations

import re

import numpy as np
import pytest

import estep_xp as ex
from tests.bad_calls import (
    MEANS,
    POINTS,
    ROWS,
    WEIGHTS,
    Case,
    Raw,
    arguments,
    is_bad,
    mixture_call,
    native,
    replaced,
)
from tests.bad_input import FACTORS, INF, MASKED, NAN, POSITIVE, RAGGED, has_shape

SAMPLE_WEIGHT = r"sample_weight must be non-negative and finite"


def assert_refused(backend, case):
    """Make the call of a case, and look for its words in the error."""
    with pytest.raises((ValueError, TypeError)) as caught:
        case.call(backend, **case.bad)
    # LinAlgError is a ValueError too, and says nothing about which argument it is.
    assert type(caught.value) in (ValueError, TypeError), caught.value
    for words in case.words:
        assert re.search(words, str(caught.value)), (words, str(caught.value))


# expected_statistics

univariate = mixture_call(
    ex.UnivariateGaussian, ex.expected_statistics, means=MEANS[:, 0], variances=np.ones(3)
)
full = mixture_call(
    ex.FullGaussian, ex.expected_statistics, means=MEANS, precision_cholesky=FACTORS
)


def weighted(backend, function=ex.expected_statistics, **bad):
    """Call with sample weights, and with keywords that are no arrays."""
    defaults = {"x": ROWS, "sample_weight": np.ones(5)}
    keywords = {name: value for name, value in bad.items() if name not in defaults}
    bad = {name: value for name, value in bad.items() if name in defaults}
    given = arguments(backend, defaults, bad)
    components = ex.DiagonalGaussian(backend.asarray(MEANS), backend.asarray(np.ones((3, 2))))
    mixture = ex.Mixture(backend.asarray(WEIGHTS), components)
    keywords = {name: native(backend, value) for name, value in keywords.items()}
    return function(given["x"], mixture, sample_weight=given["sample_weight"], **keywords)


def no_mixture(backend, mixture):
    return ex.expected_statistics(backend.asarray(ROWS), mixture.value)


ROWS_AND_WEIGHTS = [
    ({"x": replaced(ROWS, (2, 1), NAN)}, is_bad("x[2, 1]", "nan", "x must be finite")),
    ({"x": replaced(ROWS, (4, 0), INF)}, is_bad("x[4, 0]", "inf", "x must be finite")),
    ({"x": replaced(ROWS, (0, 0), -INF)}, is_bad("x[0, 0]", "-inf", "x must be finite")),
    ({"x": POINTS}, has_shape("x", (5,), "(n, 2)")),
    ({"x": ROWS[:, :1]}, has_shape("x", (5, 1), "(n, 2)")),
    ({"x": Raw(None)}, (r"\bx is None",)),
    ({"x": Raw(RAGGED)}, (r"\bx\b", "one length")),
    ({"x": Raw("rows")}, (r"\bx\b",)),
    ({"x": ROWS * 1j}, (r"\bx\b", "complex")),
    ({"x": Raw(MASKED)}, (r"\bx\b", "mask", "sample_weight 0")),
    (
        {"sample_weight": [1.0, -1.0, 1.0, 1.0, 1.0]},
        is_bad("sample_weight[1]", "-1.0", SAMPLE_WEIGHT),
    ),
    (
        {"sample_weight": [1.0, 1.0, 1.0, 1.0, NAN]},
        is_bad("sample_weight[4]", "nan", SAMPLE_WEIGHT),
    ),
    (
        {"sample_weight": [INF, 1.0, 1.0, 1.0, 1.0]},
        is_bad("sample_weight[0]", "inf", SAMPLE_WEIGHT),
    ),
    ({"sample_weight": [1.0, 1.0]}, has_shape("sample_weight", (2,), "(5,)")),
    ({"sample_weight": np.ones((5, 1))}, has_shape("sample_weight", (5, 1), "(5,)")),
    ({"sample_weight": Raw(1.0)}, has_shape("sample_weight", (), "(5,)")),
    ({"sample_weight": Raw("balanced")}, (r"\bsample_weight\b",)),
]

OPTIONS = [
    ({"block_size": Raw(0)}, (r"block_size is 0", "positive")),
    ({"block_size": Raw(2.5)}, (r"block_size is 2\.5", "whole number")),
    ({"workers": Raw(0)}, (r"workers is 0", "positive")),
    ({"workers": Raw("all")}, (r"workers is 'all'", "whole number")),
]

STATISTICS = [
    *(Case(weighted, *pair) for pair in ROWS_AND_WEIGHTS + OPTIONS),
    Case(univariate, {"x": [0.5, NAN, 2.0, 0.0, 0.0]}, is_bad("x[1]", "nan", "x must be finite")),
    Case(univariate, {"variances": [1.0, 2.0, -1.0]}, is_bad("variances[2]", "-1.0", POSITIVE)),
    Case(univariate, {"weights": [0.0, 0.0, 0.0]}, (r"weights sum to 0",)),
    Case(univariate, {"means": [0.0, INF, 1.0]}, is_bad("means[1]", "inf", "means must be finite")),
    Case(univariate, {"x": ROWS}, has_shape("x", (5, 2), "(n,)")),
    Case(
        full,
        {"precision_cholesky": replaced(FACTORS, (1, 1, 0), 0.5)},
        (r"precision_cholesky\[1, 1, 0\] is 0\.5", r"upper triangular"),
    ),
    Case(no_mixture, {"mixture": Raw(None)}, (r"mixture is a NoneType", "Mixture")),
    Case(no_mixture, {"mixture": Raw((WEIGHTS, MEANS))}, (r"mixture is a tuple", "Mixture")),
]


# m_step and merge


def _statistics(backend, **replaced_fields):
    """Take good statistics, some of whose fields are replaced."""
    components = ex.DiagonalGaussian(backend.asarray(MEANS), backend.asarray(np.ones((3, 2))))
    mixture = ex.Mixture(backend.asarray(WEIGHTS), components)
    statistics = ex.expected_statistics(backend.asarray(ROWS), mixture)
    fields = {name: native(backend, value) for name, value in replaced_fields.items()}
    moments = {name: fields.pop(name) for name in ("first", "second") if name in fields}
    return statistics._replace(moments=statistics.moments._replace(**moments), **fields)


def m_step(backend, variance_floor=None, statistics=None, **fields):
    keywords = {} if variance_floor is None else {"variance_floor": variance_floor.value}
    given = _statistics(backend, **fields) if statistics is None else statistics.value
    return ex.m_step(given, **keywords)


def m_step_of_no_rows(backend, x):
    components = ex.DiagonalGaussian(backend.asarray(MEANS), backend.asarray(np.ones((3, 2))))
    mixture = ex.Mixture(backend.asarray(WEIGHTS), components)
    return ex.m_step(ex.expected_statistics(backend.asarray(x), mixture))


def merge(backend, **bad):
    given = {"a": _statistics(backend), "b": _statistics(backend)}
    return ex.merge(**(given | {name: value.value for name, value in bad.items()}))


FLOOR = "variance_floor must be"

M_STEP = [
    Case(m_step, {"variance_floor": Raw(-1e-6)}, (r"variance_floor is -1e-06", "non-negative")),
    Case(m_step, {"variance_floor": Raw(NAN)}, (r"variance_floor is nan", "finite")),
    Case(m_step, {"variance_floor": Raw(INF)}, (r"variance_floor is inf", "finite")),
    Case(m_step, {"variance_floor": Raw("small")}, (r"variance_floor is 'small'", "number")),
    Case(m_step, {"variance_floor": Raw([0.1, 0.2])}, (r"variance_floor is \[0\.1", "number")),
    Case(m_step, {"variance_floor": Raw(1j)}, (r"variance_floor is 1j", "number")),
    Case(m_step, {"statistics": Raw(ROWS)}, (r"statistics is a ndarray", "Statistics")),
    Case(m_step, {"statistics": Raw((1.0, 2.0))}, (r"statistics is a tuple", "Statistics")),
    Case(m_step_of_no_rows, {"x": ROWS[:0]}, (r"statistics\.n_rows is 0", "at least one row")),
    Case(m_step, {"counts": [1.0, NAN, 2.0]}, is_bad("statistics.counts[1]", "nan", "finite")),
    Case(
        m_step,
        {"first": replaced(MEANS, (2, 0), INF)},
        is_bad("statistics.moments.first[2, 0]", "inf", "finite"),
    ),
    Case(
        m_step,
        {"second": replaced(MEANS**2, (0, 1), NAN)},
        is_bad("statistics.moments.second[0, 1]", "nan", "finite"),
    ),
    Case(m_step, {"n_rows": NAN}, (r"statistics\.n_rows", "nan", "finite")),
    Case(merge, {"a": Raw(None)}, (r"\ba is a NoneType", "Statistics")),
    Case(merge, {"b": Raw((1.0, 2.0))}, (r"\bb is a tuple", "Statistics")),
]


# initialize


def initialize(backend, **bad):
    good = {"x": ROWS, "n_components": Raw(2), "family": Raw(ex.FullGaussian), "seed": Raw(0)}
    if "sample_weight" in bad:
        good["sample_weight"] = np.ones(5)
    return ex.initialize(**arguments(backend, good, bad))


def initialize_univariate(backend, x):
    return ex.initialize(backend.asarray(x), 2, ex.UnivariateGaussian, seed=0)


INITIALIZE = [
    Case(initialize, {"n_components": Raw(6)}, (r"x has 5 rows", "n_components = 6")),
    Case(initialize, {"n_components": Raw(0)}, (r"n_components is 0", "at least 1")),
    Case(initialize, {"n_components": Raw(-2)}, (r"n_components is -2", "at least 1")),
    Case(initialize, {"n_components": Raw(2.0)}, (r"n_components is 2\.0", "whole number")),
    Case(initialize, {"n_components": Raw(None)}, (r"n_components is None", "whole number")),
    Case(initialize, {"n_components": Raw(True)}, (r"n_components is True", "whole number")),
    Case(initialize, {"family": Raw("full")}, (r"family is 'full'", "FullGaussian")),
    Case(initialize, {"family": Raw(None)}, (r"family is None", "FullGaussian")),
    Case(initialize, {"family": Raw(ex.Mixture)}, (r"family is .*Mixture", "FullGaussian")),
    Case(initialize, {"family": Raw(ex.UnivariateGaussian)}, has_shape("x", (5, 2), "(n,)")),
    Case(initialize, {"seed": Raw("lucky")}, (r"seed is 'lucky'", "integer")),
    Case(initialize, {"seed": Raw(-1)}, (r"seed is -1", "non-negative")),
    Case(initialize, {"x": ROWS[:0]}, (r"x has 0 rows",)),
    Case(initialize, {"x": ROWS[:, :0]}, (r"x has shape \(5, 0\)", "feature")),
    Case(initialize, {"x": POINTS}, has_shape("x", (5,), "(n, d)")),
    Case(
        initialize,
        {"x": replaced(ROWS, (3, 1), NAN)},
        is_bad("x[3, 1]", "nan", "x must be finite"),
    ),
    Case(
        initialize,
        {"x": replaced(ROWS, (0, 0), INF)},
        is_bad("x[0, 0]", "inf", "x must be finite"),
    ),
    Case(
        initialize,
        {"x": replaced(ROWS, (4, 0), -INF)},
        is_bad("x[4, 0]", "-inf", "x must be finite"),
    ),
    Case(
        initialize_univariate,
        {"x": replaced(POINTS, 3, NAN)},
        is_bad("x[3]", "nan", "x must be finite"),
    ),
    Case(
        initialize,
        {"x": replaced(ROWS, (3, 1), NAN), "sample_weight": [0.0, 1.0, 1.0, 1.0, 1.0]},
        is_bad("x[3, 1]", "nan", "x must be finite"),
    ),
    Case(initialize, {"x": Raw(None)}, (r"\bx is None",)),
    Case(initialize, {"x": Raw(RAGGED)}, (r"\bx\b", "one length")),
    Case(initialize, {"x": ROWS * 1j}, (r"\bx\b", "complex")),
    Case(initialize, {"sample_weight": np.zeros(5)}, (r"sample_weight sums to 0", "positive")),
    Case(
        initialize,
        {"sample_weight": [1.0, NAN, 1.0, 1.0, 1.0]},
        is_bad("sample_weight[1]", "nan", SAMPLE_WEIGHT),
    ),
    Case(
        initialize,
        {"sample_weight": [1.0, 1.0, -1.0, 1.0, 1.0]},
        is_bad("sample_weight[2]", "-1.0", SAMPLE_WEIGHT),
    ),
    Case(initialize, {"sample_weight": np.ones(4)}, has_shape("sample_weight", (4,), "(5,)")),
]


# fit

fit_univariate = mixture_call(
    ex.UnivariateGaussian, ex.fit, means=MEANS[:, 0], variances=np.ones(3)
)


def fit(backend, **bad):
    return weighted(backend, function=ex.fit, **bad)


def fit_no_mixture(backend, mixture):
    return ex.fit(backend.asarray(ROWS), mixture.value)


FIT = [
    *(Case(fit, *pair) for pair in ROWS_AND_WEIGHTS + OPTIONS),
    Case(fit, {"x": ROWS[:0], "sample_weight": np.ones(0)}, (r"x has no rows", "at least one")),
    Case(fit_univariate, {"x": np.ones(0)}, (r"x has no rows", "at least one")),
    Case(fit, {"sample_weight": np.zeros(5)}, (r"sample_weight sums to 0", "positive weight")),
    Case(fit, {"tol": Raw(-1e-3)}, (r"tol is -0\.001", "non-negative and finite")),
    Case(fit, {"tol": Raw(NAN)}, (r"tol is nan", "non-negative and finite")),
    Case(fit, {"tol": Raw(INF)}, (r"tol is inf", "non-negative and finite")),
    Case(fit, {"tol": Raw("tight")}, (r"tol is 'tight'", "number")),
    Case(fit, {"tol": Raw(None)}, (r"tol is None", "number")),
    Case(fit, {"max_iter": Raw(-1)}, (r"max_iter is -1", "at least 0")),
    Case(fit, {"max_iter": Raw(2.5)}, (r"max_iter is 2\.5", "whole number")),
    Case(fit, {"max_iter": Raw(None)}, (r"max_iter is None", "whole number")),
    Case(fit, {"n_init": Raw(0)}, (r"n_init is 0", "at least 1")),
    Case(fit, {"n_init": Raw("many")}, (r"n_init is 'many'", "whole number")),
    Case(fit, {"n_init": Raw(2), "seed": Raw("lucky")}, (r"seed is 'lucky'", "whole number")),
    Case(fit, {"seed": Raw(None), "n_init": Raw(2)}, (r"seed is None", "whole number")),
    Case(fit, {"variance_floor": Raw(-1.0)}, (r"variance_floor is -1\.0", "non-negative")),
    Case(fit, {"variance_floor": Raw(NAN)}, (r"variance_floor is nan", "finite")),
    Case(fit, {"variance_floor": Raw("small")}, (r"variance_floor is 'small'", "number")),
    Case(fit, {"callback": Raw("log")}, (r"callback is 'log'", "callable|function")),
    Case(fit_univariate, {"variances": [1.0, 2.0, -1.0]}, is_bad("variances[2]", "-1.0", POSITIVE)),
    Case(fit_univariate, {"weights": [0.0, 0.0, 0.0]}, (r"weights sum to 0",)),
    Case(fit_univariate, {"means": [0.0, NAN, 1.0]}, is_bad("means[1]", "nan", "finite")),
    Case(fit_univariate, {"x": ROWS}, has_shape("x", (5, 2), "(n,)")),
    Case(
        fit_univariate, {"x": [0.5, 1.0, NAN, 0.0, 0.0]}, is_bad("x[2]", "nan", "x must be finite")
    ),
    Case(fit_no_mixture, {"mixture": Raw(None)}, (r"mixture is a NoneType", "Mixture")),
    Case(fit_no_mixture, {"mixture": Raw(3)}, (r"mixture is a int", "Mixture")),
]
