"""Dask: lazy calls, one task a chunk, a tree of sums, chunks of all kinds, and what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import estep_xp as ex
from tests.chunks import (
    D,
    K,
    N,
    arrays_of,
    assert_like_numpy,
    assert_same,
    chunked,
    computed,
    cut_short,
    lazily,
    lazy_mixture,
    mixture_of,
    rows_of,
)
from tests.records import Record, gaussians_only, normalised, problem

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask.array is not installed")


# What a call builds.


@gaussians_only
def test_calls_are_lazy_and_right(record):
    """Against densities that share no code with the library."""
    x, mixture = rows_of(record), mixture_of(record)
    rows = chunked(x, 300)
    estep = lazily(ex.e_step, rows, mixture)
    total = lazily(ex.log_likelihood, rows, mixture)
    statistics = lazily(ex.expected_statistics, rows, mixture)
    assert all(isinstance(a, da.Array) for a in (*estep, total, *arrays_of(statistics[1:])))
    assert estep.responsibilities.chunks == ((300, 300, 300, 100), (K,))
    assert estep.log_likelihood.chunks == ((300, 300, 300, 100),)

    _, _, weights, params = problem(record, k=K, d=D)
    responsibilities, log_likelihood = normalised(record.log_joint(x, weights, params))
    assert_same(computed(estep), (responsibilities, log_likelihood))
    assert_same(computed(total), log_likelihood.sum())
    sums = (log_likelihood.sum(), N, responsibilities.sum(axis=0))
    assert_same(computed(statistics[1:4]), sums)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@gaussians_only
def test_lazy_arrays_tell_what_they_will_be(record, dtype):
    mixture = mixture_of(record, dtype)
    rows = chunked(rows_of(record).astype(dtype), 300)
    statistics = lazily(ex.expected_statistics, rows, mixture)
    step = lazily(ex.m_step, statistics)
    promised = (lazily(ex.e_step, rows, mixture), statistics[1:], step)
    for lazy, concrete in zip(arrays_of(promised), arrays_of(computed(promised)), strict=True):
        assert isinstance(lazy, da.Array)
        assert (lazy.shape, lazy.dtype) == (concrete.shape, concrete.dtype)
        assert concrete.dtype == dtype


@pytest.mark.parametrize(
    "function", [ex.e_step, ex.log_joint, ex.log_likelihood, ex.expected_statistics]
)
def test_one_task_a_chunk(function, monkeypatch):
    """All results together take a single call for each chunk."""
    from estep_xp.execution import dask

    calls = []

    def recorded(task: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            calls.append(arguments[-1].shape)
            return task(*arguments)

        return call

    for name in ("_map_chunk", "_sum_chunk"):
        monkeypatch.setattr(dask, name, recorded(getattr(dask, name)))
    result = function(chunked(rows_of(), 300), mixture_of())
    calls.clear()  # of a call without rows, which tells the shapes of sums
    computed(result)
    assert sorted(calls) == [(100, D), (300, D), (300, D), (300, D)]


def test_sums_are_added_up_in_a_tree():
    """Eight times as many chunks make the graph one task higher, and no task wider."""

    def height_and_width(n_chunks: int) -> tuple[int, int]:
        statistics = ex.expected_statistics(chunked(rows_of(n=4 * n_chunks), 4), mixture_of())
        graph: dict[Any, Any] = {}
        for array in arrays_of(dask.optimize(statistics[1:])[0]):
            graph |= dict(array.__dask_graph__())
        needs = {key: dask.core.get_dependencies(graph, key) for key in graph}
        heights: dict[Any, int] = {}
        for key in dask.core.toposort(graph):
            heights[key] = 1 + max((heights[need] for need in needs[key]), default=0)
        return max(heights.values()), max(map(len, needs.values()))

    (low, _), (high, width) = height_and_width(64), height_and_width(512)
    assert high == low + 1
    assert width == 8


@cut_short
def test_fit_reads_each_chunk_once_an_iteration():
    x, reads = rows_of(), []

    class Elsewhere:
        """Rows in some store, which remembers what was asked for."""

        shape, dtype, ndim = x.shape, x.dtype, x.ndim

        def __getitem__(self, index: Any) -> np.ndarray:
            part = x[index]
            if part.size:  # Dask looks at nothing first, to see of what kind it is
                reads.append(index[0].start)
            return part

    rows = da.from_array(Elsewhere(), chunks=(250, D), name="elsewhere")
    with dask.config.set(scheduler="synchronous"):
        result = ex.fit(rows, mixture_of(), max_iter=3)
    assert result.n_iter == 3
    assert sorted(reads) == sorted([0, 250, 500, 750] * 4)  # and once before the first M-step


# Chunks of all kinds.


@cut_short
@gaussians_only
def test_chunks_of_unequal_length_and_of_none(record):
    x = rows_of(record)
    assert_like_numpy(x, chunked(x, (1, 0, 600, 0, 399)), mixture_of(record))


@cut_short
def test_chunks_along_features_are_joined():
    x = rows_of()
    rows = da.from_array(x, chunks=(300, 3))
    assert rows.numblocks == (4, 2)
    assert_like_numpy(x, rows, mixture_of())
    assert ex.e_step(rows, mixture_of()).responsibilities.numblocks == (4, 1)


@pytest.mark.filterwarnings("ignore::estep_xp.CollapseWarning")  # a dozen rows are few
@cut_short
@pytest.mark.parametrize("features", [D, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_of_unknown_length(features, weighted):
    x, weight = rows_of(), np.random.default_rng(2).uniform(0, 2, N)
    x[300:600] = -np.abs(x[300:600])  # a chunk of which no row is left
    keep = x[:, 0] > 0
    rows = da.from_array(x, chunks=(300, features))
    lazy_keep = rows[:, 0] > 0
    rows, weight_rows = rows[lazy_keep], chunked(weight, 300)[lazy_keep]
    assert np.isnan(rows.shape[0])
    weights = (weight[keep], weight_rows) if weighted else ()
    assert_like_numpy(x[keep], rows, mixture_of(), *weights)


@cut_short
@pytest.mark.parametrize("kind", ["aligned", "other chunks", "numpy", "numpy rows"])
def test_sample_weights(kind):
    """A row of weight 0 contributes nothing, whatever it holds, also where weights are unknown."""
    x, weight = rows_of(), np.random.default_rng(3).uniform(0, 2, N)
    x[457], weight[457] = np.nan, 0.0
    rows, weight_rows = {
        "aligned": (chunked(x, 300), chunked(weight, 300)),
        "other chunks": (chunked(x, 300), chunked(weight, 70)),
        "numpy": (chunked(x, 300), weight),
        "numpy rows": (x, chunked(weight, 300)),
    }[kind]
    assert_like_numpy(np.delete(x, 457, 0), rows, mixture_of(), np.delete(weight, 457), weight_rows)


@cut_short
@gaussians_only
def test_parameters_may_be_lazy(record):
    x = rows_of(record)
    assert_like_numpy(x, chunked(x, 300), lazy_mixture(mixture_of(record)))


# Lazy statistics go on to merge and m_step.


@gaussians_only
def test_lazy_statistics_merge_and_give_a_mixture(record):
    x, mixture = rows_of(record), mixture_of(record)
    parts = [chunked(part, 170) for part in (x[:400], x[400:])]
    halves = [lazily(ex.expected_statistics, part, mixture) for part in parts]
    merged = lazily(ex.merge, *halves)
    step = lazily(ex.m_step, merged, variance_floor=1e-3)
    assert all(isinstance(a, da.Array) for a in arrays_of((merged[1:], step)))
    whole = ex.expected_statistics(x, mixture)
    assert_same(computed(merged), whole)
    assert_same(computed(step), ex.m_step(whole, variance_floor=1e-3))


@gaussians_only
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_covariances_of_a_lazy_m_step(record, dtype):
    """They stay lazy, and are the scatter that a weighted average of NumPy gives."""
    x, start = rows_of(record).astype(dtype), mixture_of(record, dtype)
    lazy = chunked(x, 300)
    mixture = lazily(lambda: ex.m_step(ex.expected_statistics(lazy, start), variance_floor=0.0))
    covariances = lazily(lambda: mixture.components.covariances)
    assert isinstance(covariances, da.Array)
    assert covariances.dtype == dtype
    responsibilities = ex.e_step(x.astype(float), mixture_of(record)).responsibilities
    expected = scatter(record, x, responsibilities)
    assert covariances.shape == expected.shape
    tolerance = 1e-9 if dtype == "float64" else 2e-3
    np.testing.assert_allclose(computed(covariances), expected, rtol=tolerance, atol=tolerance)


def scatter(record: Record, x: np.ndarray, responsibilities: np.ndarray) -> np.ndarray:
    """Compute maximum-likelihood covariances of a family, component by component."""
    x = x.reshape(len(x), -1).astype(float)
    whole = np.stack([np.cov(x, rowvar=False, aweights=r, ddof=0) for r in responsibilities.T])
    whole = whole.reshape(K, x.shape[1], x.shape[1])
    diagonals = np.diagonal(whole, axis1=1, axis2=2)
    if record.family is ex.DiagonalGaussian:
        return diagonals
    if record.family is ex.TiedGaussian:
        return np.average(whole, axis=0, weights=responsibilities.sum(axis=0))
    return whole if record.family is ex.FullGaussian else diagonals.mean(axis=1)


def test_lazy_factors_that_are_bad_have_no_covariances():
    factors = np.stack([np.eye(2), -np.eye(2)])
    lazy = ex.FullGaussian(da.zeros((2, 2)), da.from_array(factors))
    covariances = computed(lazily(lambda: lazy.covariances))
    np.testing.assert_array_equal(covariances[0], np.eye(2))
    assert np.isnan(covariances[1]).all()


def test_statistics_of_different_mixtures_do_not_merge():
    rows, mixture = chunked(rows_of(), 300), mixture_of()
    means = mixture.components.means + 1.0
    moved = mixture._replace(components=mixture.components._replace(means=means))
    a, b = (ex.expected_statistics(rows, one) for one in (mixture, moved))
    with pytest.raises(ValueError, match=r"means\[0, 0\] is .* in a's mixture but .* in b's"):
        lazily(ex.merge, a, b)
    # Where the mixtures are not known yet, the sums tell.
    a, b = (lazily(ex.expected_statistics, rows, lazy_mixture(one)) for one in (mixture, moved))
    different, same = lazily(ex.merge, a, b), lazily(ex.merge, a, a)
    assert all(np.isnan(array).all() for array in arrays_of(computed(different)[1:]))
    np.testing.assert_allclose(computed(same.counts), 2 * computed(a.counts), rtol=1e-14)


def test_initialize_looks_at_all_rows_of_small_data():
    x = rows_of()
    with dask.config.set(scheduler="synchronous"):
        start = ex.initialize(chunked(x, 300), K, ex.FullGaussian, seed=4)
    assert_same(start, ex.initialize(x, K, ex.FullGaussian, seed=4))


# What cannot be done.


@cut_short
def test_bad_rows_are_nan_until_fit_names_them():
    x = rows_of()
    x[457, 1] = np.nan
    rows, mixture = chunked(x, 300), mixture_of()
    log_likelihood = computed(ex.e_step(rows, mixture).log_likelihood)
    assert np.flatnonzero(np.isnan(log_likelihood)) == [457]
    assert np.isnan(computed(ex.expected_statistics(rows, mixture).log_likelihood))
    with pytest.raises(ValueError, match=r"x\[457, 1\] is nan"):
        ex.fit(rows, mixture)


@cut_short
def test_rows_of_no_density():
    x = rows_of()
    x[457] = 1e200
    rows, mixture = chunked(x, 300), mixture_of()
    assert computed(ex.expected_statistics(rows, mixture).log_likelihood) == -np.inf
    with pytest.raises(ValueError, match=r"1 row has zero density .* the first is row 457"):
        ex.fit(rows, mixture)


def no_rows(known: bool) -> Any:
    if known:
        return chunked(np.empty((0, D)), 1)
    return chunked(rows_of(), 300)[da.zeros(N, chunks=300) > 0]


@pytest.mark.parametrize("known", [True, False])
def test_no_rows_add_nothing(known):
    assert computed(ex.e_step(no_rows(known), mixture_of()).responsibilities).shape == (0, K)
    sums = computed(ex.expected_statistics(no_rows(known), mixture_of()))[1:]
    assert all((array == 0).all() for array in map(np.asarray, arrays_of(sums)))


@cut_short
@pytest.mark.parametrize("known", [True, False])
def test_fit_refuses_no_rows(known):
    with pytest.raises(ValueError, match="no rows"):
        ex.fit(no_rows(known), mixture_of())


def test_unknown_lengths_that_are_needed():
    x, weight, mixture = chunked(rows_of(), 300), np.ones(N), mixture_of()
    unknown = x[x[:, 0] > -np.inf]
    for rows, sample_weight in (
        (unknown, weight),
        (x, chunked(weight, 200)[da.ones(N, chunks=200) > 0]),
        (unknown, chunked(weight, 200)[da.ones(N, chunks=200) > 0]),
    ):
        with pytest.raises(ValueError, match="compute_chunk_sizes"):
            lazily(ex.log_likelihood, rows, mixture, sample_weight=sample_weight)
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        lazily(ex.initialize, unknown, K, ex.FullGaussian, seed=0)
