"""Expected statistics: every sum against plain NumPy, however the rows are cut, weighted, ordered.

The sums may be off by 32 eps (1 + T) of the sum of the sizes of their terms: what the accuracy
contract leaves to responsibilities, and as much again for the sum.
"""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import estep_xp as ex
from tests import bad_fits, em_oracle
from tests.backends import BACKENDS
from tests.families import RECORDS, normalised, problem
from tests.fisher import assert_gradient

N, K, D = 7, 3, 2
SAMPLE_WEIGHT = np.array([0.5, 2.0, 1.0, 0.25, 1.5, 3.0, 0.75])
SUMS = ("log_likelihood", "n_rows", "counts", "first", "second")

LAW = settings(derandomize=True, database=None, deadline=None, max_examples=25)
families = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
concrete = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
# Laws that jit obeys if the sums are right there: each new program costs a compilation.
libraries = pytest.mark.backends("numpy", "array_api_strict", "jax", "torch", "dask")
jax_only = pytest.mark.backends("jax")
numpy_only = pytest.mark.backends("numpy")


def take(backend, case, dtype="float64", sample_weight=None, **options):
    """Run the library on a problem, with NumPy's sample weights if there are any."""
    if sample_weight is not None:
        options["sample_weight"] = backend.data(sample_weight, dtype)
    return backend.call(
        ex.expected_statistics, backend.data(case.x, dtype), case.mixture(backend, dtype), **options
    )


def sums_of(statistics):
    """Name the sums of a record, flat."""
    _, log_likelihood, n_rows, counts, moments = statistics
    return dict(zip(SUMS, (log_likelihood, n_rows, counts, *moments), strict=True))


def numbers(backend, statistics):
    return {name: backend.to_numpy(array) for name, array in sums_of(statistics).items()}


def slack(case, dtype, sample_weight=None):
    """How far each sum may be off."""
    size = em_oracle.statistics(case, sample_weight)[1]
    scale = case.record.magnitude(case.x, case.weights, case.params).max(initial=0.0)
    relative = 32 * np.finfo(dtype).eps * (1 + scale)
    return {name: relative * np.asarray(a) for name, a in zip(SUMS, size, strict=True)}


def assert_sums(backend, statistics, case, dtype="float64", sample_weight=None):
    """Compare every sum with the oracle's, and check where and what it is."""
    expected = em_oracle.statistics(case, sample_weight)[0]
    allowed = slack(case, dtype, sample_weight)
    for (name, array), value in zip(sums_of(statistics).items(), expected, strict=True):
        backend.assert_like(array, dtype)
        actual = backend.to_numpy(array)
        assert actual.shape == np.shape(value), name
        off = np.abs(actual - value) > allowed[name]
        assert not np.any(off), f"{name}: {actual} instead of {value}"


def assert_close(one, other, allowed):
    """Compare two results for the same rows, both rounded."""
    for name in SUMS:
        assert np.all(np.abs(one[name] - other[name]) <= 2 * allowed[name]), name


# Values


@families
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


@libraries
@families
def test_the_scale_of_mixing_weights_is_nothing(backend, record):
    case = problem(record, n=N)
    scaled = case._replace(weights=case.weights * 1000)
    assert_sums(backend, take(backend, scaled), case)


@libraries
@families
def test_a_component_of_weight_zero_expects_no_rows(backend, record):
    case = problem(record, n=N)
    without = case._replace(weights=np.array([1.0, 0.0, 2.0]))
    statistics = take(backend, without)
    assert_sums(backend, statistics, without)
    assert backend.to_numpy(statistics.counts)[1] == 0.0


@pytest.mark.backends("numpy", "jax", "torch")
@families
def test_an_offset_changes_no_digit(backend, record):
    """Centred on the means, float32 sums are the same at 0 and at a million, to the last bit."""
    case = problem(record, dtype="float32", n=N)
    x, means = (np.round(a * 8) / 8 for a in (case.x, case.params["means"]))
    case = case._replace(x=x, params=case.params | {"means": means})
    offset = 2.0**20
    far = case._replace(x=x + offset, params=case.params | {"means": means + offset})
    near, far = (numbers(backend, take(backend, one, "float32")) for one in (case, far))
    for name in SUMS:
        np.testing.assert_array_equal(near[name], far[name])


# Sample weights


@concrete
@families
@dtypes
def test_sample_weights(backend, record, dtype):
    case = problem(record, dtype=dtype, n=N)
    statistics = take(backend, case, dtype, SAMPLE_WEIGHT)
    assert_sums(backend, statistics, case, dtype, SAMPLE_WEIGHT)


@families
def test_masked_rows_add_nothing(backend, record):
    """Whatever they hold; not even the checks see them."""
    case = problem(record, n=N)
    kept = np.array([True, False, True, True, False, False, True])
    nonsense = [[np.nan, 0.0], [1.0, -np.inf], [1e200, 1e200]]
    x = case.x.copy()
    x[~kept] = np.max(nonsense, axis=1) if record.univariate else nonsense
    statistics = take(backend, case._replace(x=x), "float64", SAMPLE_WEIGHT * kept)
    assert_sums(backend, statistics, case._replace(x=case.x[kept]), "float64", SAMPLE_WEIGHT[kept])


@libraries
@families
def test_whole_sample_weights_are_repetitions(backend, record):
    case = problem(record, n=N)
    times = np.array([1, 0, 3, 2, 1, 1, 2])
    statistics = take(backend, case, sample_weight=times)
    assert_sums(backend, statistics, case._replace(x=np.repeat(case.x, times, axis=0)))


def test_sample_weights_of_zero_everywhere(backend):
    """Statistics of no rows, though there are some."""
    case = problem(RECORDS[-1], n=N)
    statistics = take(backend, case._replace(x=case.x * np.nan), sample_weight=np.zeros(N))
    for name, value in numbers(backend, statistics).items():
        np.testing.assert_array_equal(value, np.zeros(value.shape), err_msg=name)


# No rows


@libraries
@families
@dtypes
def test_no_rows_give_zeros(backend, record, dtype):
    case = problem(record, dtype=dtype, n=N)
    statistics = take(backend, case._replace(x=case.x[:0]), dtype)
    shapes = [np.shape(a) for a in em_oracle.statistics(case)[0]]
    for array, shape in zip(sums_of(statistics).values(), shapes, strict=True):
        backend.assert_like(array, dtype)
        np.testing.assert_array_equal(backend.to_numpy(array), np.zeros(shape))


# merge


@libraries
@families
@dtypes
def test_merged_pieces_are_the_whole(backend, record, dtype):
    case = problem(record, dtype=dtype, n=2 * N)
    pieces = (take(backend, case._replace(x=rows), dtype) for rows in (case.x[:N], case.x[N:]))
    assert_sums(backend, backend.call(ex.merge, *pieces), case, dtype)


@libraries
@families
def test_merging_no_rows_changes_nothing(backend, record):
    """The identity, to the last digit, from either side."""
    case = problem(record, n=N)
    some, none = take(backend, case), take(backend, case._replace(x=case.x[:0]))
    for merged in (backend.call(ex.merge, some, none), backend.call(ex.merge, none, some)):
        assert type(merged) is ex.Statistics
        for name, value in numbers(backend, merged).items():
            backend.assert_like(sums_of(merged)[name], "float64")
            np.testing.assert_array_equal(value, numbers(backend, some)[name])


@families
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


# Blocks, threads and order


@libraries
@pytest.mark.parametrize("record", [RECORDS[0], RECORDS[-1]], ids=lambda record: record.name)
@pytest.mark.parametrize("size", [8, 50, 64])
def test_blocks_are_the_whole(backend, record, size):
    """Also where the last block is short, or there is only one."""
    case = problem(record, n=50)
    assert_sums(backend, take(backend, case, block_size=size), case)


@numpy_only
@families
@pytest.mark.parametrize("workers", [2, 5, -1])
def test_threads_change_no_digit(backend, record, workers):
    case = problem(record, n=103)
    s = np.arange(103) % 4
    alone = numbers(backend, take(backend, case, sample_weight=s, block_size=8))
    beside = numbers(backend, take(backend, case, sample_weight=s, block_size=8, workers=workers))
    for name in SUMS:
        np.testing.assert_array_equal(alone[name], beside[name])


@libraries
@families
def test_the_order_of_rows_is_nothing(backend, record):
    case = problem(record, n=N)
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    statistics = take(backend, case._replace(x=case.x[order]), sample_weight=SAMPLE_WEIGHT[order])
    assert_sums(backend, statistics, case, sample_weight=SAMPLE_WEIGHT)


@libraries
@families
def test_permuting_components_permutes_their_sums(backend, record):
    case = problem(record, n=N)
    order = np.array([2, 0, 1])
    shared = {"tied": ("precision_cholesky",)}.get(record.name, ())
    params = {name: a if name in shared else a[order] for name, a in case.params.items()}
    permuted = take(backend, case._replace(weights=case.weights[order], params=params))
    expected = numbers(backend, take(backend, case))
    for name in ("counts", "first", "second"):
        if name != "second" or record.name != "tied":
            expected[name] = expected[name][order]
    allowed = {name: a.max() for name, a in slack(case, "float64").items()}
    assert_close(numbers(backend, permuted), expected, allowed)


# Bad rows


@pytest.mark.backends("numpy", "jax")
@pytest.mark.parametrize("case", bad_fits.STATISTICS, ids=lambda case: case.name)
def test_bad_input_is_refused_with_the_place(backend, case):
    bad_fits.assert_refused(backend, case)


@concrete
@families
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


@pytest.mark.backends("jax_jit", "dask")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@families
def test_a_lazy_bad_row_shows(backend, record, value):
    case = problem(record, n=N)
    x = case.x.copy()
    x[(3,) * x.ndim if record.univariate else (3, 1)] = value
    for name, array in numbers(backend, take(backend, case._replace(x=x))).items():
        if name != "n_rows":
            assert np.all(np.isnan(array)) or name in ("first", "second"), name
            assert np.any(np.isnan(array)), name


@concrete
def test_a_family_of_ones_own_has_no_statistics(backend):
    class Own:
        def log_prob(self, x):
            return x[:, None]

    with pytest.raises(TypeError, match=r"Own, which has a density but no M-step"):
        ex.expected_statistics(backend.data([1.0]), ex.Mixture(backend.asarray([1.0]), Own()))


# Many rows


@pytest.mark.backends("numpy", "jax")
def test_float32_adds_up_without_losing_digits(backend):
    """2^25 rows, each of log-density -0.9189385: a plain float32 sum is off by several percent."""
    components = ex.UnivariateGaussian(*(backend.asarray([a], "float32") for a in (0.0, 1.0)))
    mixture = ex.Mixture(backend.asarray([1.0], "float32"), components)
    statistics = ex.expected_statistics(backend.data(np.zeros(1 << 25, np.float32)), mixture)
    backend.assert_like(statistics.log_likelihood, "float32")
    total = float(statistics.log_likelihood)
    assert abs(total / -30834460 - 1) < 1e-6
    assert float(statistics.n_rows) == float(statistics.counts[0]) == 1 << 25


@pytest.mark.backends("numpy", "jax", "torch")
def test_float32_moments_of_many_rows(backend):
    """In small blocks, so that there are many sums to add to one another."""
    n = 1 << 17
    x = np.random.default_rng(0).uniform(0, 1, n).astype(np.float32)
    components = ex.UnivariateGaussian(*(backend.asarray([a], "float32") for a in (0.0, 1.0)))
    mixture = ex.Mixture(backend.asarray([1.0], "float32"), components)
    block_size = 64 if backend.name != "torch" else 1024
    statistics = ex.expected_statistics(backend.data(x), mixture, block_size=block_size)
    wide = x.astype(np.float64)
    expected = [n, wide.sum(), (wide**2).sum()]
    actual = [float(a[0]) for a in (statistics.counts, *statistics.moments)]
    np.testing.assert_allclose(actual, expected, rtol=3e-7)


@pytest.mark.parametrize("stored", ["float32", "float64", "int16"])
def test_a_file_mapped_into_memory(tmp_path, stored):
    """Read-only, of another dtype than the mixture's, and never copied as a whole."""
    case = problem(RECORDS[-1], n=1000)
    x = (10 * case.x).astype(stored)
    path = tmp_path / "rows"
    x.tofile(path)
    mapped = np.memmap(path, dtype=stored, mode="r", shape=x.shape)
    backend = BACKENDS["numpy"]
    statistics = ex.expected_statistics(mapped, case.mixture(backend), block_size=100)
    assert_sums(backend, statistics, case._replace(x=x.astype(np.float64)))


MEGABYTE = 1_000_000
MANY = (5_000_000, 8)


def many_components(backend, family, dtype, k=16):
    d = MANY[1]
    means = np.random.default_rng(0).standard_normal((k, d))
    second = np.stack([np.eye(d)] * k) if family is ex.FullGaussian else np.ones((k, d))
    components = family(*(backend.asarray(a, dtype) for a in (means, second)))
    return ex.Mixture(backend.asarray(np.ones(k), dtype), components)


@numpy_only
@pytest.mark.parametrize(
    ("family", "dtype"), [(ex.FullGaussian, "float32"), (ex.DiagonalGaussian, "float64")]
)
def test_memory_does_not_grow_with_the_rows(backend, family, dtype):
    """5M x 8 and 16 components; an (n, k) array would take 320 or 640 MB."""
    # A view that repeats one row: the data themselves need no memory.
    x = np.broadcast_to(np.linspace(-1, 1, MANY[1], dtype=dtype), MANY)
    mixture = many_components(backend, family, dtype)
    tracemalloc.start()
    try:
        statistics = ex.expected_statistics(x, mixture, workers=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert float(statistics.n_rows) == MANY[0]
    assert peak < 100 * MEGABYTE, peak


@jax_only
def test_memory_of_the_compiled_program(backend):
    """XLA tells what it needs beside the arguments; nothing has to run."""
    import jax

    mixture = many_components(backend, ex.FullGaussian, "float64")
    x, s = (jax.ShapeDtypeStruct(shape, "float64") for shape in (MANY, MANY[:1]))
    compiled = jax.jit(_weighted).lower(x, mixture, s).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 100 * MEGABYTE


def _weighted(x, mixture, sample_weight):
    return ex.expected_statistics(x, mixture, sample_weight=sample_weight)


# Transformations


@jax_only
@families
def test_fishers_identity(backend, record):
    """The gradient of the log-likelihood by the means is the first moment times the precision."""
    import jax

    case = problem(record, n=N)
    x, mixture, s = backend.data(case.x), case.mixture(backend), backend.data(SAMPLE_WEIGHT)
    total = jax.jit(jax.grad(lambda m: ex.log_likelihood(x, m, sample_weight=s)))
    first = backend.to_numpy(_weighted(x, mixture, s).moments.first)
    covariances = record.covariances(case.params)
    if covariances.ndim == 3 or record.name == "tied":
        each = np.broadcast_to(covariances, (K, D, D))
        expected = np.linalg.solve(each, first[..., None])[..., 0]
    else:
        expected = first / covariances.reshape(K, *(-1,) * (first.ndim - 1))
    np.testing.assert_allclose(total(mixture).components.means, expected, rtol=1e-12, atol=1e-13)


@jax_only
@pytest.mark.parametrize("record", [RECORDS[0], RECORDS[-1]], ids=lambda record: record.name)
def test_derivatives_of_their_log_likelihood(backend, record):
    """By x, weights and every field; blocks of three rows are gone through once more."""
    import jax

    case = problem(record, n=N)
    gradient = jax.grad(_blocked_total, argnums=(0, 1, 2))
    by_x, by_mixture, by_sample_weight = jax.jit(gradient)(
        backend.data(case.x), case.mixture(backend), backend.data(SAMPLE_WEIGHT)
    )
    actual = [backend.to_numpy(g) for g in (by_x, by_mixture.weights, *by_mixture.components)]
    assert_gradient(actual, case, sample_weight=SAMPLE_WEIGHT)
    rows = normalised(record.log_joint(case.x, case.weights, case.params))[1]
    np.testing.assert_allclose(by_sample_weight, rows, rtol=1e-13)


def _blocked_total(x, mixture, sample_weight):
    statistics = ex.expected_statistics(x, mixture, sample_weight=sample_weight, block_size=3)
    return statistics.log_likelihood


@jax_only
def test_statistics_are_a_pytree_of_arrays(backend):
    import jax

    statistics = take(backend, problem(RECORDS[-1], n=N))
    leaves, structure = jax.tree.flatten(statistics)
    assert len(leaves) == 3 + 5  # weights and two fields of the mixture; five sums
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    again = jax.tree.unflatten(structure, leaves)
    assert type(again) is ex.Statistics
    assert type(again.mixture.components) is ex.FullGaussian


@jax_only
@pytest.mark.parametrize("record", [RECORDS[0], RECORDS[-1]], ids=lambda record: record.name)
def test_vmap_over_mixtures_and_over_data(backend, record):
    import jax
    import jax.numpy as jnp

    cases = [problem(record, seed=seed, n=N) for seed in (1, 2)]
    xs = jnp.stack([backend.data(case.x) for case in cases])
    weights = np.stack([SAMPLE_WEIGHT, SAMPLE_WEIGHT[::-1]])
    mixtures = jax.tree.map(lambda *a: jnp.stack(a), *(case.mixture(backend) for case in cases))
    by_mixture = jax.jit(jax.vmap(ex.expected_statistics, in_axes=(None, 0)))(xs[0], mixtures)
    by_data = jax.jit(jax.vmap(_weighted, in_axes=(0, None, 0)))(
        xs, cases[0].mixture(backend), backend.data(weights)
    )
    for i in range(2):
        one = jax.tree.map(lambda a, i=i: a[i], by_mixture)
        assert_sums(backend, one, cases[i]._replace(x=cases[0].x))
        one = jax.tree.map(lambda a, i=i: a[i], by_data)
        assert_sums(backend, one, cases[0]._replace(x=cases[i].x), sample_weight=weights[i])


@jax_only
def test_a_scan_merges_blocks(backend):
    """Streams of blocks in one compiled program; it begins with statistics of no rows."""
    import jax

    case = problem(RECORDS[-1], n=12)
    mixture = case.mixture(backend)
    blocks = backend.data(case.x.reshape(4, 3, D))

    @jax.jit
    def total(blocks, mixture):
        def body(so_far, block):
            return ex.merge(so_far, ex.expected_statistics(block, mixture)), None

        return jax.lax.scan(body, ex.expected_statistics(blocks[0, :0], mixture), blocks)[0]

    assert_sums(backend, total(blocks, mixture), case)


@pytest.mark.backends("numpy", "array_api_strict", "torch", "jax")
def test_every_library_keeps_float32_digits(backend):
    """Also those that add one row to the next."""
    record = next(record for record in RECORDS if record.name == "spherical")
    case = problem(record, dtype="float32", n=1 << 18, k=2, d=3)
    sums = numbers(backend, take(backend, case, "float32"))
    expected, sizes = em_oracle.statistics(case)
    for (name, value), right, size in zip(sums.items(), expected, sizes, strict=True):
        assert np.all(np.abs(value - right) <= 1e-6 * np.asarray(size)), name
