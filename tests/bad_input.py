"""The table of bad calls: what is wrong, and the words that must lead the reader to it.

One good call a family and function; a case replaces some of its arguments by bad ones. All of them
must end in ValueError or TypeError on every library whose values are concrete.
"""

from __future__ import annotations

import re

import numpy as np

import estep_xp as ex
from tests.bad_calls import (
    COVARIANCE,
    FACTOR,
    MEANS,
    POINTS,
    ROWS,
    WEIGHTS,
    Case,
    Raw,
    diagonal,
    from_covariance,
    from_covariances,
    full,
    is_bad,
    mixture_argument,
    posterior,
    replaced,
    spherical,
    tied,
    univariate,
    weighted,
)

NAN, INF = float("nan"), float("inf")


POSITIVE = r"variances must be positive and finite"
NON_NEGATIVE = r"weights must be non-negative and finite"
FACTORS = np.stack([FACTOR] * 3)
UNIT = np.eye(2)

VALUES = [
    # Variances
    Case(univariate, {"variances": [1.0, 2.0, -1.0]}, is_bad("variances[2]", "-1.0", POSITIVE)),
    Case(univariate, {"variances": [0.0, 2.0, 1.0]}, is_bad("variances[0]", "0.0", POSITIVE)),
    Case(univariate, {"variances": [1.0, NAN, 1.0]}, is_bad("variances[1]", "nan", POSITIVE)),
    Case(univariate, {"variances": [1.0, INF, 1.0]}, is_bad("variances[1]", "inf", POSITIVE)),
    Case(univariate, {"variances": [1.0, -INF, 0.0]}, is_bad("variances[1]", "-inf", POSITIVE)),
    Case(spherical, {"variances": [1.0, 2.0, -0.5]}, is_bad("variances[2]", "-0.5", POSITIVE)),
    Case(spherical, {"variances": [NAN, 2.0, 1.0]}, is_bad("variances[0]", "nan", POSITIVE)),
    Case(
        diagonal,
        {"variances": replaced(np.ones((3, 2)), (1, 0), 0.0)},
        is_bad("variances[1, 0]", "0.0", POSITIVE),
    ),
    Case(
        diagonal,
        {"variances": replaced(np.ones((3, 2)), (2, 1), INF)},
        is_bad("variances[2, 1]", "inf", POSITIVE),
    ),
    # Means
    Case(univariate, {"means": [0.0, INF, 1.0]}, is_bad("means[1]", "inf", "means must be finite")),
    Case(
        spherical,
        {"means": replaced(MEANS, (2, 1), -INF)},
        is_bad("means[2, 1]", "-inf", "means must be finite"),
    ),
    Case(
        diagonal,
        {"means": replaced(MEANS, (1, 0), NAN)},
        is_bad("means[1, 0]", "nan", "means must be finite"),
    ),
    Case(
        tied,
        {"means": replaced(MEANS, (0, 1), NAN)},
        is_bad("means[0, 1]", "nan", "means must be finite"),
    ),
    Case(
        full,
        {"means": replaced(MEANS, (2, 0), INF)},
        is_bad("means[2, 0]", "inf", "means must be finite"),
    ),
    Case(
        from_covariance,
        {"means": replaced(MEANS, (2, 0), NAN)},
        is_bad("means[2, 0]", "nan", "means must be finite"),
    ),
    Case(
        from_covariances,
        {"means": replaced(MEANS, (2, 0), NAN)},
        is_bad("means[2, 0]", "nan", "means must be finite"),
    ),
    # Weights
    Case(univariate, {"weights": [-0.5, 1.0, 0.5]}, is_bad("weights[0]", "-0.5", NON_NEGATIVE)),
    Case(diagonal, {"weights": [0.5, NAN, 0.5]}, is_bad("weights[1]", "nan", NON_NEGATIVE)),
    Case(full, {"weights": [0.5, 0.5, INF]}, is_bad("weights[2]", "inf", NON_NEGATIVE)),
    Case(
        univariate,
        {"weights": [0.0, 0.0, 0.0]},
        (r"weights sum to 0", r"at least one weight must be positive"),
    ),
    Case(posterior, {"weights": [1.0, -2.0]}, is_bad("weights[1]", "-2.0", NON_NEGATIVE)),
    Case(posterior, {"weights": [NAN, 2.0]}, is_bad("weights[0]", "nan", NON_NEGATIVE)),
    Case(posterior, {"weights": [0.0, 0.0]}, (r"weights sum to 0",)),
    # Observations
    Case(
        univariate,
        {"x": [0.5, 1.0, 2.0, INF, 0.0]},
        is_bad("x[3]", "inf", "x must be finite"),
    ),
    Case(univariate, {"x": [0.5, NAN, 2.0, 0.0, 0.0]}, is_bad("x[1]", "nan", "x must be finite")),
    Case(
        spherical,
        {"x": replaced(ROWS, (4, 0), -INF)},
        is_bad("x[4, 0]", "-inf", "x must be finite"),
    ),
    Case(
        diagonal,
        {"x": replaced(ROWS, (3, 1), INF)},
        is_bad("x[3, 1]", "inf", "x must be finite"),
    ),
    Case(tied, {"x": replaced(ROWS, (0, 1), NAN)}, is_bad("x[0, 1]", "nan", "x must be finite")),
    Case(full, {"x": replaced(ROWS, (2, 0), INF)}, is_bad("x[2, 0]", "inf", "x must be finite")),
    # Component log-densities
    Case(
        posterior,
        {"log_prob": replaced(-ROWS, (2, 0), NAN)},
        is_bad("log_prob[2, 0]", "nan", re.escape("log_prob must not be NaN or +inf")),
    ),
    Case(
        posterior,
        {"log_prob": replaced(-ROWS, (4, 1), INF)},
        is_bad("log_prob[4, 1]", "inf", re.escape("log_prob must not be NaN or +inf")),
    ),
    # Sample weights
    Case(
        weighted,
        {"sample_weight": [1.0, 0.0, 1.0, 1.0, -1.0]},
        is_bad("sample_weight[4]", "-1.0", r"sample_weight must be non-negative and finite"),
    ),
    Case(
        weighted,
        {"sample_weight": [1.0, INF, 1.0, 1.0, 0.0]},
        is_bad("sample_weight[1]", "inf", r"sample_weight must be non-negative and finite"),
    ),
    Case(
        weighted,
        {"sample_weight": [1.0, 1.0, NAN, 1.0, 0.0]},
        is_bad("sample_weight[2]", "nan", r"sample_weight must be non-negative and finite"),
    ),
    # Covariances
    Case(
        from_covariance,
        {"covariance": [[1.0, 2.0], [2.0, 1.0]]},
        (r"covariance is not positive definite",),
    ),
    Case(
        from_covariance,
        {"covariance": [[1.0, 1.0], [1.0, 1.0]]},
        (r"covariance is not positive definite",),
    ),
    Case(
        from_covariance,
        {"covariance": [[0.0, 0.0], [0.0, 0.0]]},
        (r"covariance is not positive definite",),
    ),
    Case(
        from_covariance,
        {"covariance": [[1.0, 0.5], [0.25, 1.0]]},
        (r"covariance\b", r"\[0, 1\] is 0\.5", r"0\.25", r"symmetric"),
    ),
    Case(
        from_covariance, {"covariance": [[1.0, NAN], [NAN, 1.0]]}, (r"covariance\[0, 1\] is nan",)
    ),
    Case(
        from_covariance, {"covariance": [[INF, 0.0], [0.0, 1.0]]}, (r"covariance\[0, 0\] is inf",)
    ),
    Case(
        from_covariances,
        {"covariances": [UNIT, [[1.0, 2.0], [2.0, 1.0]], UNIT]},
        (r"covariances\[1\] is not positive definite",),
    ),
    Case(
        from_covariances,
        {"covariances": [UNIT, UNIT, -UNIT]},
        (r"covariances\[2\] is not positive definite",),
    ),
    Case(
        from_covariances,
        {"covariances": [UNIT, [[1.0, 0.5], [0.25, 1.0]], UNIT]},
        (r"covariances\[1\]", r"\[0, 1\] is 0\.5", r"0\.25", r"symmetric"),
    ),
    Case(
        from_covariances,
        {"covariances": [[[1.0, NAN], [NAN, 1.0]], UNIT, UNIT]},
        (r"covariances\[0\]?(\[|, )0, 1\] is nan", r"finite"),
    ),
    # Precision factors
    Case(
        tied,
        {"precision_cholesky": [[1.0, 0.5], [0.0, -2.0]]},
        (r"precision_cholesky\[1, 1\] is -2\.0", r"positive"),
    ),
    Case(
        tied,
        {"precision_cholesky": [[INF, 0.5], [0.0, 2.0]]},
        (r"precision_cholesky\[0, 0\] is inf", r"finite"),
    ),
    Case(
        tied,
        {"precision_cholesky": [[1.0, 0.5], [0.125, 2.0]]},
        (r"precision_cholesky\[1, 0\] is 0\.125", r"upper triangular"),
    ),
    Case(
        tied,
        {"precision_cholesky": [[1.0, NAN], [0.0, 2.0]]},
        (r"precision_cholesky\[0, 1\] is nan", r"finite"),
    ),
    Case(
        full,
        {"precision_cholesky": replaced(FACTORS, (0, 1, 1), 0.0)},
        (r"precision_cholesky\[0\]?(\[|, )1, 1\] is 0\.0", r"positive"),
    ),
    Case(
        full,
        {"precision_cholesky": replaced(FACTORS, (2, 0, 0), NAN)},
        (r"precision_cholesky\[2\]?(\[|, )0, 0\] is nan", r"positive"),
    ),
    Case(
        full,
        {"precision_cholesky": replaced(FACTORS, (1, 1, 0), 0.5)},
        (r"precision_cholesky\[1\]?(\[|, )1, 0\] is 0\.5", r"upper triangular"),
    ),
    Case(
        full,
        {"precision_cholesky": replaced(FACTORS, (1, 0, 1), INF)},
        (r"precision_cholesky\[1\]?(\[|, )0, 1\] is inf", r"finite"),
    ),
]


def has_shape(argument, shape, *expected):
    return (rf"\b{argument}\b", re.escape(str(shape)), *map(re.escape, expected))


SHAPES = [
    Case(univariate, {"x": ROWS}, has_shape("x", (5, 2), "(n,)")),
    Case(univariate, {"x": Raw(1.5)}, has_shape("x", (), "(n,)")),
    Case(univariate, {"means": MEANS}, has_shape("means", (3, 2), "(k,)")),
    Case(univariate, {"means": Raw(1.0)}, has_shape("means", (), "(k,)")),
    Case(univariate, {"variances": [1.0, 2.0]}, has_shape("variances", (2,), "(3,)")),
    Case(univariate, {"variances": np.ones((3, 1))}, has_shape("variances", (3, 1), "(3,)")),
    Case(
        univariate, {"weights": [0.5, 0.5]}, (r"\bweights\b", r"\(2,\)", r"\(3,\)|\b3 components")
    ),
    Case(univariate, {"weights": WEIGHTS[None]}, (r"\bweights\b", r"\(1, 3\)", r"\(3,\)|\(k,\)")),
    Case(univariate, {"weights": Raw(1.0)}, (r"\bweights\b", r"\(\)", r"\(3,\)|\(k,\)")),
    Case(
        univariate,
        {"means": np.ones(0), "variances": np.ones(0), "weights": np.ones(0)},
        (r"means|weights", r"\(0,\)|component"),
    ),
    Case(spherical, {"x": POINTS}, has_shape("x", (5,), "(n, 2)")),
    Case(spherical, {"x": ROWS[:, :1]}, has_shape("x", (5, 1), "(n, 2)")),
    Case(spherical, {"means": MEANS[:, 0]}, has_shape("means", (3,), "(k, d)")),
    Case(spherical, {"variances": np.ones((3, 2))}, has_shape("variances", (3, 2), "(3,)")),
    Case(diagonal, {"x": ROWS[:, :, None]}, has_shape("x", (5, 2, 1), "(n, 2)")),
    Case(diagonal, {"x": np.ones((5, 3))}, has_shape("x", (5, 3), "(n, 2)")),
    Case(diagonal, {"variances": np.ones((2, 2))}, has_shape("variances", (2, 2), "(3, 2)")),
    Case(diagonal, {"variances": np.ones((3, 1))}, has_shape("variances", (3, 1), "(3, 2)")),
    Case(
        diagonal,
        {"means": np.ones((0, 2)), "variances": np.ones((0, 2)), "weights": np.ones(0)},
        (r"means|weights", r"\(0, 2\)|\(0,\)|component"),
    ),
    Case(tied, {"x": ROWS.T}, has_shape("x", (2, 5), "(n, 2)")),
    Case(
        tied,
        {"precision_cholesky": FACTORS},
        has_shape("precision_cholesky", (3, 2, 2), "(2, 2)"),
    ),
    Case(
        tied,
        {"precision_cholesky": np.eye(3)},
        has_shape("precision_cholesky", (3, 3), "(2, 2)"),
    ),
    Case(
        full,
        {"precision_cholesky": FACTOR},
        has_shape("precision_cholesky", (2, 2), "(3, 2, 2)"),
    ),
    Case(
        full,
        {"precision_cholesky": FACTORS[:2]},
        has_shape("precision_cholesky", (2, 2, 2), "(3, 2, 2)"),
    ),
    Case(
        from_covariance, {"covariance": np.ones((2, 3))}, has_shape("covariance", (2, 3), "(2, 2)")
    ),
    Case(from_covariance, {"covariance": np.ones(2)}, has_shape("covariance", (2,), "(2, 2)")),
    Case(from_covariance, {"means": MEANS[:, 0]}, has_shape("means", (3,), "(k, d)")),
    Case(
        from_covariances,
        {"covariances": COVARIANCE},
        has_shape("covariances", (2, 2), "(3, 2, 2)"),
    ),
    Case(
        from_covariances,
        {"covariances": np.stack([np.eye(3)] * 3)},
        has_shape("covariances", (3, 3, 3), "(3, 2, 2)"),
    ),
    Case(posterior, {"log_prob": POINTS}, has_shape("log_prob", (5,), "(n, ")),
    Case(posterior, {"log_prob": ROWS[None]}, has_shape("log_prob", (1, 5, 2), "(n, ")),
    Case(posterior, {"weights": [1.0, 1.0, 1.0]}, (r"log_prob", r"weight", r"\b3\b", r"\b2\b")),
    Case(
        posterior,
        {"log_prob": np.ones((5, 0)), "weights": np.ones(0)},
        (r"log_prob|weights", r"\(5, 0\)|\(0,\)|component"),
    ),
    Case(weighted, {"sample_weight": [1.0, 1.0]}, has_shape("sample_weight", (2,), "(5,)")),
    Case(weighted, {"sample_weight": np.ones((5, 1))}, has_shape("sample_weight", (5, 1), "(5,)")),
    Case(weighted, {"sample_weight": Raw(2.0)}, has_shape("sample_weight", (), "(5,)")),
]


OBJECT = np.array([1.0, None, 2.0], dtype=object)
FLOATS_AS_OBJECTS = np.array([1.0, 2.0, 3.0], dtype=object)
RAGGED = [[1.0, 2.0], [3.0]]
MASKED = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])

KINDS = [
    Case(univariate, {"x": Raw(None)}, (r"\bx\b", "None")),
    Case(univariate, {"x": Raw("1, 2, 3")}, (r"\bx\b",)),
    Case(univariate, {"x": Raw(["1", "2"])}, (r"\bx\b",)),
    Case(univariate, {"x": Raw(np.array(["1", "2"]))}, (r"\bx\b",)),
    Case(univariate, {"x": Raw([1.0, None])}, (r"x\[1\] is None",)),
    Case(univariate, {"x": Raw([1.0, "a"])}, (r"x\[1\] is 'a'",)),
    Case(spherical, {"x": Raw([[1.0, 2.0], [3.0, None]])}, (r"x\[1, 1\] is None",)),
    Case(spherical, {"x": Raw([[1.0, 2.0], [3.0]])}, (r"x\[1\] has 1 items", "first row has 2")),
    Case(univariate, {"x": Raw(OBJECT)}, (r"\bx\b", "object")),
    Case(univariate, {"x": Raw(FLOATS_AS_OBJECTS)}, (r"\bx\b", "object")),
    Case(univariate, {"x": Raw([1.0, 10**400])}, (r"\bx\b",)),
    Case(univariate, {"x": [1.0 + 2.0j, 0.0]}, (r"\bx\b", "complex")),
    Case(univariate, {"x": Raw([1.0 + 2.0j, 0.0])}, (r"x\[0\] is \(1\+2j\)", "complex")),
    Case(univariate, {"x": Raw(RAGGED)}, (r"\bx\b",)),
    Case(univariate, {"x": Raw({1.0, 2.0})}, (r"\bx\b",)),
    Case(univariate, {"x": Raw({"a": 1.0})}, (r"\bx\b",)),
    Case(univariate, {"x": Raw(np.array(["2020-01-01"], "datetime64[D]"))}, (r"\bx\b",)),
    Case(univariate, {"x": Raw(MASKED)}, (r"\bx\b", "mask")),
    Case(univariate, {"weights": Raw(MASKED)}, (r"\bweights\b", "mask")),
    Case(univariate, {"means": Raw(MASKED)}, (r"\bmeans\b", "mask")),
    Case(univariate, {"means": Raw(None)}, (r"\bmeans\b",)),
    Case(univariate, {"means": Raw(RAGGED)}, (r"\bmeans\b",)),
    Case(univariate, {"means": [1.0j, 0.0, 1.0]}, (r"\bmeans\b", "complex")),
    Case(univariate, {"variances": Raw(None)}, (r"\bvariances\b",)),
    Case(univariate, {"variances": Raw(["a", "b", "c"])}, (r"\bvariances\b",)),
    Case(univariate, {"weights": Raw(None)}, (r"\bweights\b",)),
    Case(univariate, {"weights": Raw("uniform")}, (r"\bweights\b",)),
    Case(univariate, {"weights": Raw(FLOATS_AS_OBJECTS)}, (r"\bweights\b", "object")),
    Case(spherical, {"means": Raw(RAGGED)}, (r"\bmeans\b",)),
    Case(diagonal, {"variances": Raw(RAGGED)}, (r"\bvariances\b",)),
    Case(tied, {"precision_cholesky": Raw(None)}, (r"\bprecision_cholesky\b",)),
    Case(full, {"precision_cholesky": Raw(RAGGED)}, (r"\bprecision_cholesky\b",)),
    Case(from_covariance, {"covariance": Raw(None)}, (r"\bcovariance\b",)),
    Case(from_covariance, {"covariance": Raw(RAGGED)}, (r"\bcovariance\b",)),
    Case(from_covariance, {"covariance": UNIT * 1j}, (r"\bcovariance\b", "complex")),
    Case(from_covariances, {"covariances": Raw("full")}, (r"\bcovariances\b",)),
    Case(from_covariances, {"means": Raw(None)}, (r"\bmeans\b",)),
    Case(posterior, {"log_prob": Raw(None)}, (r"\blog_prob\b",)),
    Case(posterior, {"log_prob": Raw(RAGGED)}, (r"\blog_prob\b",)),
    Case(posterior, {"log_prob": ROWS * 1j}, (r"\blog_prob\b", "complex")),
    Case(posterior, {"weights": Raw(None)}, (r"\bweights\b",)),
    Case(weighted, {"sample_weight": Raw("balanced")}, (r"\bsample_weight\b",)),
    Case(weighted, {"sample_weight": Raw([1.0, None, 1.0, 1.0, 1.0])}, (r"\bsample_weight\b",)),
    Case(weighted, {"sample_weight": np.ones(5) * 1j}, (r"\bsample_weight\b", "complex")),
    Case(mixture_argument, {"mixture": Raw(None)}, (r"\bmixture\b",)),
    Case(mixture_argument, {"mixture": Raw(ex.UnivariateGaussian)}, (r"\bmixture\b",)),
    Case(mixture_argument, {"mixture": Raw([0.5, 0.5])}, (r"\bmixture\b",)),
    Case(mixture_argument, {"components": Raw("gaussian")}, (r"\bcomponents\b", "log_prob")),
    Case(mixture_argument, {"components": Raw(MEANS[:, 0])}, (r"\bcomponents\b", "log_prob")),
]

BAD_INPUT = VALUES + SHAPES + KINDS
GOOD_CALLS = (
    univariate,
    spherical,
    diagonal,
    tied,
    full,
    from_covariance,
    from_covariances,
    posterior,
    weighted,
)
