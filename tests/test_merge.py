"""Merging statistics: of pieces of the data, in any order, of one mixture only."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import estep_xp as ex
from tests.backends import BACKENDS
from tests.records import every_family, few_on_jax, problem
from tests.sums import (
    D,
    K,
    N,
    assert_sums,
    concrete,
    dtypes,
    jax_only,
    libraries,
    numbers,
    sums_of,
    take,
)

LAW = settings(derandomize=True, database=None, deadline=None, max_examples=25)


# merge


@few_on_jax
@libraries
@every_family
@dtypes
def test_merged_pieces_are_the_whole(backend, record, dtype):
    case = problem(record, dtype=dtype, n=2 * N)
    pieces = (take(backend, case._replace(x=rows), dtype) for rows in (case.x[:N], case.x[N:]))
    assert_sums(backend, backend.call(ex.merge, *pieces), case, dtype)


@few_on_jax
@libraries
@every_family
def test_merging_no_rows_changes_nothing(backend, record):
    """The identity, to the last digit, from either side."""
    case = problem(record, n=N)
    some, none = take(backend, case), take(backend, case._replace(x=case.x[:0]))
    for merged in (backend.call(ex.merge, some, none), backend.call(ex.merge, none, some)):
        assert type(merged) is ex.Statistics
        for name, value in numbers(backend, merged).items():
            backend.assert_like(sums_of(merged)[name], "float64")
            np.testing.assert_array_equal(value, numbers(backend, some)[name])


@every_family
@LAW
@given(data=st.data())
def test_merge_is_associative_and_commutative(record, data):
    """However the rows are cut, and in whatever order and nesting the parts are merged."""
    backend, n = BACKENDS["numpy"], 20
    case = problem(record, seed=data.draw(st.integers(0, 5)), n=n)
    cuts = sorted(data.draw(st.lists(st.integers(0, n), min_size=1, max_size=4)))
    edges = [0, *cuts, n]
    spans = [slice(a, b) for a, b in itertools.pairwise(edges)]
    parts = [take(backend, case._replace(x=case.x[span])) for span in spans]
    parts = data.draw(st.permutations(parts))
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        parts[i : i + 2] = [ex.merge(parts[i], parts[i + 1])]
    assert_sums(backend, parts[0], case)


def mixtures_that_differ():
    """Changes of a mixture, and the words that name the difference."""
    components = ex.DiagonalGaussian(np.zeros((K, D)), np.ones((K, D)))
    weights = np.array([0.25, 0.5, 0.25])
    means = np.zeros((K, D))
    means[2, 1] = 1.0
    variances = np.ones((K, D))
    variances[0, 1] = 2.0
    wide = ex.DiagonalGaussian(np.zeros((2, D)), np.ones((2, D)))
    spherical = ex.SphericalGaussian(np.zeros((K, D)), np.ones(K))
    yield (
        ex.Mixture(weights, components._replace(means=means)),
        r"means\[2, 1\] is 0\.0 in a's mixture but 1\.0 in b's",
    )
    yield (
        ex.Mixture(weights, components._replace(variances=variances)),
        r"variances\[0, 1\] is 1\.0 in a's mixture but 2\.0 in b's",
    )
    yield (
        ex.Mixture(weights * [1.0, 1.0, 3.0], components),
        r"weights\[2\] is 0\.25 in a's mixture but 0\.75 in b's",
    )
    yield ex.Mixture(weights[:2], wide), r"\(3,\) in a's mixture but \(2,\) in b's"
    yield ex.Mixture(weights, spherical), "a is of DiagonalGaussian but b of SphericalGaussian"


DIFFERENT = list(mixtures_that_differ())
SAME = ex.Mixture(
    np.array([0.25, 0.5, 0.25]), ex.DiagonalGaussian(np.zeros((K, D)), np.ones((K, D)))
)


def native_mixture(backend, mixture):
    components = type(mixture.components)(*map(backend.asarray, mixture.components))
    return ex.Mixture(backend.asarray(mixture.weights), components)


@concrete
@pytest.mark.parametrize(
    ("other", "words"), DIFFERENT, ids=["means", "variances", "weights", "k", "family"]
)
def test_merge_refuses_statistics_of_two_mixtures(backend, other, words):
    x = backend.data(np.ones((N, D)))
    mixtures = [native_mixture(backend, mixture) for mixture in (SAME, other)]
    a, b = (ex.expected_statistics(x, mixture) for mixture in mixtures)
    with pytest.raises((ValueError, TypeError), match=words):
        ex.merge(a, b)


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize("index", range(3))
def test_merge_under_jit_shows_two_mixtures(backend, index):
    """Nobody can raise there; NaN is no plausible wrong number."""
    x = backend.data(np.ones((N, D)))
    mixtures = (SAME, DIFFERENT[index][0])
    a, b = (ex.expected_statistics(x, native_mixture(backend, mixture)) for mixture in mixtures)
    for name, value in numbers(backend, backend.call(ex.merge, a, b)).items():
        assert np.all(np.isnan(value)), name


@jax_only
def test_merge_refuses_two_libraries(backend):
    parts = [
        ex.expected_statistics(one.data(np.ones((N, D))), native_mixture(one, SAME))
        for one in (backend, BACKENDS["numpy"])
    ]
    with pytest.raises(TypeError, match=r"jax\.Array.*numpy\.ndarray"):
        ex.merge(*parts)
