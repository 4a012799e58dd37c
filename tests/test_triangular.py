"""Inverses of triangular matrices: NumPy's own way for small ones, and that of all libraries."""

from __future__ import annotations

import numpy as np
import pytest

from estep_xp.arrays import linalg
from estep_xp.arrays.namespace import numpy_namespace

mpmath = pytest.importorskip("mpmath")


def _hard(k, d):
    """Factors of correlations of features that hardly differ, whose pivots are small."""
    rng = np.random.default_rng(d)
    rows = rng.standard_normal((k, 3 * d, 1)) + 1e-3 * rng.standard_normal((k, 3 * d, d))
    return np.linalg.cholesky(linalg.correlations(np, rows.mT @ rows)[0])


@pytest.mark.parametrize("d", [1, 2, 5, 13, 17])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_inverse_against_mpmath(d, dtype, monkeypatch):
    lower = _hard(3, d).astype(dtype)
    with mpmath.workdps(50):
        inverses = [mpmath.matrix(one.tolist()) ** -1 for one in lower]
        expected = np.array([[[float(v) for v in row] for row in m.tolist()] for m in inverses])
    by_lapack = linalg.inverse_lower(numpy_namespace, lower)
    monkeypatch.setattr(linalg, "_SMALL", 0)
    by_halves = linalg.inverse_lower(numpy_namespace, lower)
    # Substitution is off by |L⁻¹| |L| |L⁻¹| eps for each of d terms (Higham 2002, section 14.2).
    unsigned = np.abs(expected)
    bound = d * np.finfo(dtype).eps * (unsigned @ np.abs(lower) @ unsigned)
    for found in (by_lapack, by_halves):
        assert found.dtype == dtype
        assert (np.abs(found - expected) <= bound).all()
        assert not np.triu(found, 1).any()
        assert not np.signbit(found[found == 0]).any()


def test_a_pivot_of_zero_gives_nan():
    lower = np.asarray([[[1.0, 0.0], [0.5, 0.0]], [[1.0, 0.0], [0.5, 2.0]]])
    assert np.isnan(linalg.inverse_lower(numpy_namespace, lower)).any()


def test_diagonals_that_are_not_finite_stay_where_they_are():
    found = linalg.diagonal_matrix(numpy_namespace, np.asarray([[1.0, np.nan], [np.inf, 2.0]]))
    np.testing.assert_array_equal(found, [[[1, 0], [0, np.nan]], [[np.inf, 0], [0, 2]]])
