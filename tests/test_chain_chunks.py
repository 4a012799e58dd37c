"""Chains whose rows lie in chunks of Dask: cuts anywhere, and the numbers of all rows at once."""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.chain import chunks
from tests.chunks import arrays_of, assert_same, chunked, computed, cut_short, lazily
from tests.test_chain_estep import CASES, LENGTHS, assert_exact, expected
from tests.test_chain_parts import LENGTHS as MANY_LENGTHS
from tests.test_chain_parts import WEIGHTS, case

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask.array is not installed")

# One row each; with a chunk of no rows; within the second of three sequences, the last one cut.
CUTS = {"rows": 1, "few": ((3, 0, 2, 5, 10),), "two": ((16, 4),)}


@pytest.fixture(autouse=True)
def in_this_process():
    with dask.config.set(scheduler="synchronous"):
        yield


def in_chunks(function, x, cuts, *args, **kwargs):
    """What a call gives for rows in chunks, in NumPy's arrays."""
    rows = da.from_array(x, chunks=(cuts, *x.shape[1:]) if np.isscalar(cuts) else (*cuts, -1))
    return computed(lazily(function, rows, *args, **kwargs))


@pytest.mark.parametrize("name", [name for name in CASES if name != "one row"])
@pytest.mark.parametrize(
    ("cuts", "lengths"), [("rows", LENGTHS), ("few", None), ("two", LENGTHS), ("two", None)]
)
def test_chunks_are_exact(name, cuts, lengths):
    """Against 50 digits: zeros, states recalled from e^-900, log-densities of 1e4."""
    one = CASES[name]()
    step = in_chunks(ex.chain_posterior, one[0], CUTS[cuts], *one[1:], lengths=lengths)
    assert_exact(step, expected(one, lengths or (20,)), one)


@pytest.mark.parametrize("name", ["random", "left-right", "sticky", "identity", "varying"])
def test_sums_of_chunks_are_those_of_all_rows(name):
    """With sequences of weight 0, whatever these hold; the chunks are longer than the warm-up."""
    x, hmm = case(name)
    x[500:1000] = np.nan
    keywords = {"lengths": MANY_LENGTHS, "sample_weight": WEIGHTS}
    for function in (ex.expected_statistics, ex.log_likelihood):
        lazy = in_chunks(function, x, 400, hmm, **keywords)
        whole = function(x, hmm, **keywords)
        if function is ex.expected_statistics:
            lazy, whole = lazy[1:], whole[1:]
        assert_same(lazy, whole, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_are_lazy_and_of_the_dtype(dtype):
    x, hmm = case("random", dtype)
    step = lazily(ex.e_step, chunked(x, 400), hmm, lengths=MANY_LENGTHS)
    assert step.responsibilities.chunks == ((400, 400, 400, 300), (3,))
    statistics = lazily(ex.expected_statistics, chunked(x, 400), hmm)[1:]
    values = lazily(ex.log_density, chunked(x, 400), hmm, lengths=MANY_LENGTHS)
    for lazy in arrays_of((step, statistics, values)):
        assert isinstance(lazy, da.Array)
        concrete = lazy.compute()
        assert (lazy.shape, lazy.dtype) == (concrete.shape, concrete.dtype)
        assert concrete.dtype == dtype
    rtol = 1e-4 if dtype == "float32" else 1e-11
    whole = ex.e_step(x, hmm, lengths=MANY_LENGTHS)
    assert_same(computed(step), whole, rtol=rtol, atol=rtol)
    assert_same(computed(values), whole.log_likelihood, rtol=rtol)


@cut_short
def test_fit_is_that_of_all_rows():
    x, hmm = case("left-right")
    keywords = {"lengths": MANY_LENGTHS, "max_iter": 3}
    fitted = ex.fit(chunked(x, 400), hmm, **keywords)
    assert_same(fitted.mixture, ex.fit(x, hmm, **keywords).mixture, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("row", [0, 8, 13, 19])
@pytest.mark.parametrize("cuts", CUTS.values(), ids=CUTS)
def test_an_impossible_sequence_is_so_in_all_its_chunks(cuts, row):
    """And in no others: responsibilities are NaN, and counts those of the other sequences."""
    log_prob, initial, transitions = CASES["random"]()
    log_prob[row] = -np.inf
    arrays = (initial, transitions)
    step = in_chunks(ex.chain_posterior, log_prob, cuts, *arrays, lengths=LENGTHS)
    with pytest.warns(RuntimeWarning, match="1 sequence is impossible"):
        whole = ex.chain_posterior(log_prob, *arrays, lengths=LENGTHS)
    assert np.isneginf(whole.log_likelihood).any()
    assert_same(step, whole, rtol=1e-12, atol=1e-14)


def test_bad_rows_show():
    """As NaN in their sequence alone."""
    log_prob, initial, transitions = CASES["random"]()
    log_prob[9] = np.nan
    step = in_chunks(ex.chain_posterior, log_prob, 4, initial, transitions, lengths=LENGTHS)
    np.testing.assert_array_equal(np.isnan(step.log_likelihood), [False, False, True])
    assert np.isnan(step.responsibilities[8:]).all()
    assert not np.isnan(step.responsibilities[:8]).any()


def test_no_task_sees_the_rows_of_others(monkeypatch):
    """Two passes over chunks, each of whose tasks takes the rows of one."""
    seen = []

    def recorded(kind, self, rows, *arguments):
        seen.append(len(self.log_prob))
        return run(self, kind, rows, *arguments)

    run = chunks._Chunk.run
    monkeypatch.setattr(chunks._Chunk, "run", lambda self, kind, *rest: recorded(kind, self, *rest))
    x, hmm = case("random")
    computed(ex.expected_statistics(chunked(x, 100), hmm)[1:])
    assert set(seen) == {100}


def test_rows_are_read_once_more_rather_than_kept():
    """The second pass has tasks of its own that read the chunks: none waits for it in memory."""
    x, hmm = case("random")
    reads = []

    def read(block):
        reads.append(block.shape)
        return block

    rows = chunked(x, 500).map_blocks(read, dtype=x.dtype, meta=np.empty(0))
    computed(ex.expected_statistics(rows, hmm)[1:])
    assert len(reads) == 6
    reads.clear()
    computed(ex.e_step(rows, hmm))
    assert len(reads) == 3
