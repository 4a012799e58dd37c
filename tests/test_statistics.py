"""Expected statistics: every sum against plain NumPy, however the rows are cut, weighted, ordered.

The sums may be off by 32 eps (1 + T) of the sum of the sizes of their terms: what the accuracy
contract leaves to responsibilities, and as much again for the sum.
"""

from __future__ import annotations

import numpy as np
import pytest

import estep_xp as ex
from tests import bad_fits, em_oracle
from tests.records import (
    FULL,
    UNIVARIATE,
    every_family,
    few_on_jax,
    few_on_jax_jit,
    gaussians_only,
    parametrize,
    problem,
)
from tests.sums import (
    SAMPLE_WEIGHT,
    N,
    assert_close,
    assert_sums,
    concrete,
    dtypes,
    libraries,
    numbers,
    numpy_only,
    slack,
    sums_of,
    take,
)

# Values


@few_on_jax_jit
@pytest.mark.one_program("record", "dtype")  # see conftest.py
@every_family
@dtypes
def test_every_sum(backend, record, dtype):
    """And the mixture comes along, whose means they are centred on."""
    case = problem(record, dtype=dtype, n=N)
    statistics = take(backend, case, dtype)
    assert type(statistics) is ex.Statistics
    assert_sums(backend, statistics, case, dtype)
    mixture = statistics.mixture
    assert type(mixture) is ex.Mixture
    assert type(mixture.components) is record.family
    expected = (case.weights, *case.params.values())
    for array, value in zip((mixture.weights, *mixture.components), expected, strict=True):
        np.testing.assert_array_equal(backend.to_numpy(array), value)
        assert backend.to_numpy(array).dtype == dtype


@concrete
def test_lists_and_integers_adopt_what_is_beside_them(backend):
    components = ex.UnivariateGaussian([0, 4], [1, 2])
    mixture = ex.Mixture(backend.asarray([0.5, 0.5], "float32"), components)
    statistics = ex.expected_statistics([1, 2, 5], mixture, sample_weight=[1, 0, 2])
    assert float(statistics.n_rows) == 3.0
    for array in (*sums_of(statistics).values(), *statistics.mixture.components):
        backend.assert_like(array, "float32")


@few_on_jax
@libraries
@every_family
def test_the_scale_of_mixing_weights_is_nothing(backend, record):
    case = problem(record, n=N)
    scaled = case._replace(weights=case.weights * 1000)
    assert_sums(backend, take(backend, scaled), case)


@few_on_jax
@libraries
@every_family
def test_a_component_of_weight_zero_expects_no_rows(backend, record):
    case = problem(record, n=N)
    without = case._replace(weights=np.array([1.0, 0.0, 2.0]))
    statistics = take(backend, without)
    assert_sums(backend, statistics, without)
    assert backend.to_numpy(statistics.counts)[1] == 0.0


@few_on_jax
@pytest.mark.backends("numpy", "jax", "torch")
@gaussians_only
def test_an_offset_changes_no_digit(backend, record):
    """Centred on the means, float32 sums are the same at 0 and at a million, to the last bit."""
    case = problem(record, dtype="float32", n=N)
    x, means = (np.round(a * 8) / 8 for a in (case.x, case.params["means"]))
    case = case._replace(x=x, params=case.params | {"means": means})
    offset = 2.0**20
    far = case._replace(x=x + offset, params=case.params | {"means": means + offset})
    near, far = (numbers(backend, take(backend, one, "float32")) for one in (case, far))
    for name in near:
        np.testing.assert_array_equal(near[name], far[name])


# Sample weights


@few_on_jax
@concrete
@every_family
@dtypes
def test_sample_weights(backend, record, dtype):
    case = problem(record, dtype=dtype, n=N)
    statistics = take(backend, case, dtype, SAMPLE_WEIGHT)
    assert_sums(backend, statistics, case, dtype, SAMPLE_WEIGHT)


@few_on_jax
@pytest.mark.one_program("record")
@every_family
def test_masked_rows_add_nothing(backend, record):
    """Whatever they hold; not even the checks see them."""
    case = problem(record, n=N)
    kept = np.array([True, False, True, True, False, False, True])
    nonsense = [[np.nan, 0.0], [1.0, -np.inf], [1e200, -1.5]]
    x = case.x.copy()
    x[~kept] = [np.nan, -np.inf, 1e200] if record.univariate else nonsense
    statistics = take(backend, case._replace(x=x), "float64", SAMPLE_WEIGHT * kept)
    assert_sums(backend, statistics, case._replace(x=case.x[kept]), "float64", SAMPLE_WEIGHT[kept])


@few_on_jax
@libraries
@every_family
def test_whole_sample_weights_are_repetitions(backend, record):
    case = problem(record, n=N)
    times = np.array([1, 0, 3, 2, 1, 1, 2])
    statistics = take(backend, case, sample_weight=times)
    assert_sums(backend, statistics, case._replace(x=np.repeat(case.x, times, axis=0)))


def test_sample_weights_of_zero_everywhere(backend):
    """Statistics of no rows, though there are some."""
    case = problem(FULL, n=N)
    statistics = take(backend, case._replace(x=case.x * np.nan), sample_weight=np.zeros(N))
    for name, value in numbers(backend, statistics).items():
        np.testing.assert_array_equal(value, np.zeros(value.shape), err_msg=name)


# No rows


@few_on_jax
@libraries
@every_family
@dtypes
def test_no_rows_give_zeros(backend, record, dtype):
    case = problem(record, dtype=dtype, n=N)
    statistics = take(backend, case._replace(x=case.x[:0]), dtype)
    expected, _ = em_oracle.statistics(case)
    for name, array in sums_of(statistics).items():
        backend.assert_like(array, dtype)
        np.testing.assert_array_equal(backend.to_numpy(array), np.zeros(np.shape(expected[name])))


# Blocks, threads and order


@pytest.mark.one_program("record", "size")  # see conftest.py
@libraries
@parametrize(UNIVARIATE, FULL)
@pytest.mark.parametrize("size", [8, 50, 64])
def test_blocks_are_the_whole(backend, record, size):
    """Also where the last block is short, or there is only one."""
    case = problem(record, n=50)
    assert_sums(backend, take(backend, case, block_size=size), case)


@numpy_only
@every_family
@pytest.mark.parametrize("workers", [2, 5, -1])
def test_threads_change_no_digit(backend, record, workers):
    case = problem(record, n=103)
    s = np.arange(103) % 4
    alone = numbers(backend, take(backend, case, sample_weight=s, block_size=8))
    beside = numbers(backend, take(backend, case, sample_weight=s, block_size=8, workers=workers))
    for name in alone:
        np.testing.assert_array_equal(alone[name], beside[name])


@few_on_jax
@libraries
@every_family
def test_the_order_of_rows_is_nothing(backend, record):
    case = problem(record, n=N)
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    statistics = take(backend, case._replace(x=case.x[order]), sample_weight=SAMPLE_WEIGHT[order])
    assert_sums(backend, statistics, case, sample_weight=SAMPLE_WEIGHT)


@few_on_jax
@libraries
@every_family
def test_permuting_components_permutes_their_sums(backend, record):
    case = problem(record, n=N)
    order = np.array([2, 0, 1])
    permuted = take(backend, case.at(order))
    sums = numbers(backend, take(backend, case))
    totals = {name: sums.pop(name) for name in ("log_likelihood", "n_rows")}
    expected = totals | record.at(sums, order)
    allowed = {name: a.max() for name, a in slack(case, "float64").items()}
    assert_close(numbers(backend, permuted), expected, allowed)


# Bad rows


@pytest.mark.backends("numpy", "jax")
@pytest.mark.parametrize("case", bad_fits.STATISTICS, ids=lambda case: case.name)
def test_bad_input_is_refused_with_the_place(backend, case):
    bad_fits.assert_refused(backend, case)


@few_on_jax
@concrete
@gaussians_only
def test_rows_of_no_density_are_refused(backend, record):
    """Counted, and the first one named: a sum over rows hides where it went wrong."""
    case = problem(record, n=N)
    x = case.x.copy()
    x[[2, 5]] = 1e200
    words = r"2 rows have zero density under every component; the first is row 2"
    with pytest.raises(ValueError, match=words):
        take(backend, case._replace(x=x))
    if backend.name == "numpy":
        with pytest.raises(ValueError, match=words):
            take(backend, case._replace(x=x), block_size=2, workers=2)
    sample_weight = np.array([1.0, 1.0, 0.0, 1.0, 1.0, 2.0, 1.0])
    with pytest.raises(ValueError, match=r"1 row has zero density .* is row 5"):
        take(backend, case._replace(x=x), sample_weight=sample_weight)
    sample_weight[5] = 0.0
    take(backend, case._replace(x=x), sample_weight=sample_weight)


@few_on_jax
@pytest.mark.backends("jax_jit", "dask")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@every_family
def test_a_lazy_bad_row_shows(backend, record, value):
    case = problem(record, n=N)
    x = case.x.copy()
    x[(3,) * x.ndim if record.univariate else (3, 1)] = value
    for name, array in numbers(backend, take(backend, case._replace(x=x))).items():
        if name != "n_rows":
            assert np.all(np.isnan(array)) or name not in ("log_likelihood", "counts"), name
            assert np.any(np.isnan(array)), name


@concrete
def test_a_family_of_ones_own_has_no_statistics(backend):
    class Own:
        def log_prob(self, x):
            return x[:, None]

    with pytest.raises(TypeError, match=r"Own, which has a density but no M-step"):
        ex.expected_statistics(backend.data([1.0]), ex.Mixture(backend.asarray([1.0]), Own()))
