"""k-means++: rows far from each other, chosen by the same draws in every library."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import estep_xp as ex
from tests import bad_fits
from tests.backends import BACKENDS
from tests.records import GAUSSIANS, few_on_jax, problem

N, K, D = 30, 3, 2

families = pytest.mark.parametrize("record", GAUSSIANS, ids=lambda record: record.name)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
concrete = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
every_library = pytest.mark.backends(
    "numpy", "numpy_readonly", "array_api_strict", "jax", "torch", "dask"
)
# Shapes of their own, which would cost a compilation each.
uncompiled = pytest.mark.backends("numpy", "array_api_strict", "torch")
numpy_only = pytest.mark.backends("numpy")
jax_only = pytest.mark.backends("jax")


def start(backend, x, record, dtype="float64", k=K, seed=0, sample_weight=None):
    """Call the library; Dask has to compute what it chooses from."""
    options = {"n_components": k, "family": record.family, "seed": seed, "method": "k-means++"}
    if sample_weight is not None:
        options["sample_weight"] = backend.data(sample_weight, dtype)
    if backend.name == "dask":
        return ex.initialize(backend.data(x, dtype), **options)
    return backend.call(ex.initialize, backend.data(x, dtype), **options)


def rows_of(backend, mixture):
    """Return the chosen rows (k, d) in NumPy."""
    means = backend.to_numpy(mixture.components.means)
    return means.reshape(len(means), -1)


def positions(chosen, x):
    """Where in x the chosen rows stand; they must be there, digit by digit."""
    equal = (chosen[:, None, :] == x.reshape(len(x), -1)).all(axis=-1)
    assert equal.any(axis=1).all(), chosen
    return equal.argmax(axis=1)


def variances_of(mixture):
    """Turn the second field into variances, whatever the family."""
    second = np.asarray(mixture.components[1], dtype=float)
    if "precision_cholesky" not in mixture.components._fields:
        return second
    np.testing.assert_array_equal(second, second * np.eye(second.shape[-1]))
    return 1.0 / np.diagonal(second, axis1=-2, axis2=-1) ** 2


def expected_variances(record, x, chosen, sample_weight=None):
    """Scale the overall variances by the share that the means leave unexplained."""
    rows = x.reshape(len(x), -1)
    overall = np.cov(rows.T, ddof=0, aweights=sample_weight).reshape(rows.shape[1:] * 2)
    variances = np.diagonal(overall)
    squares = ((rows[:, None, :] - chosen) ** 2 / variances).mean(axis=-1).min(axis=1)
    scaled = variances * np.average(squares, weights=sample_weight)
    k = len(chosen)
    return {
        "univariate": np.full(k, scaled.mean()),
        "spherical": np.full(k, scaled.mean()),
        "diagonal": np.tile(scaled, (k, 1)),
        "tied": scaled,
        "full": np.tile(scaled, (k, 1)),
    }[record.name]


# What a start is


@few_on_jax
@pytest.mark.one_program("record", "dtype")  # see conftest.py
@families
@dtypes
def test_a_start(backend, record, dtype):
    """Different rows of x, equal weights, and the variance that the rows leave unexplained."""
    x = problem(record, dtype=dtype, n=N).x
    mixture = start(backend, x, record, dtype)
    assert type(mixture) is ex.Mixture
    assert type(mixture.components) is record.family
    like = BACKENDS["numpy"] if backend.name == "dask" else backend
    arrays = (mixture.weights, *mixture.components)
    for array, shape in zip(arrays, shapes(record), strict=True):
        like.assert_like(array, dtype)
        assert tuple(array.shape) == shape
    np.testing.assert_array_equal(like.to_numpy(mixture.weights), np.full(K, 1 / K, dtype))
    chosen = rows_of(like, mixture)
    assert len(set(positions(chosen, x))) == K
    native = ex.Mixture(None, record.family(*map(like.to_numpy, mixture.components)))
    np.testing.assert_allclose(
        variances_of(native),
        expected_variances(record, x, chosen),
        rtol=32 * np.finfo(dtype).eps,
    )


def shapes(record):
    second = {"univariate": (K,), "spherical": (K,), "diagonal": (K, D), "tied": (D, D)}
    means = (K,) if record.univariate else (K, D)
    return (K,), means, second.get(record.name, (K, D, D))


@few_on_jax
@every_library
@families
def test_the_same_rows_in_every_library(backend, record):
    """And the same every time; another seed gives another start."""
    x = problem(record, n=N).x
    like = BACKENDS["numpy"] if backend.name == "dask" else backend
    expected = {}
    for seed in range(4):
        expected[seed] = rows_of(
            BACKENDS["numpy"], ex.initialize(x, K, record.family, method="k-means++", seed=seed)
        )
        for _ in range(2):
            chosen = rows_of(like, start(backend, x, record, seed=seed))
            np.testing.assert_array_equal(chosen, expected[seed])
    assert len({chosen.tobytes() for chosen in expected.values()}) > 1


@few_on_jax
@every_library
@families
def test_the_start_is_good_input(backend, record):
    """The E-step takes it as it is."""
    x = problem(record, n=N).x
    mixture = start(backend, x, record)
    step = ex.e_step(backend.data(x), mixture)
    assert np.all(np.isfinite(backend.to_numpy(step.log_likelihood)))


@concrete
def test_lists_and_integers(backend):
    mixture = ex.initialize(
        backend.asarray([0, 1, 2, 8, 9]), 2, ex.UnivariateGaussian, method="k-means++", seed=(1, 2)
    )
    assert set(backend.to_numpy(mixture.components.means)) <= {0.0, 1.0, 2.0, 8.0, 9.0}
    same = ex.initialize([0, 1, 2, 8, 9], 2, ex.UnivariateGaussian, method="k-means++", seed=[1, 2])
    np.testing.assert_array_equal(same.components.means, backend.to_numpy(mixture.components.means))


def test_blocks_and_threads_change_nothing():
    x = problem(GAUSSIANS[-1], n=200).x
    expected = ex.initialize(x, K, ex.FullGaussian, method="k-means++", seed=3)
    actual = ex.initialize(
        x, K, ex.FullGaussian, method="k-means++", seed=3, block_size=8, workers=2
    )
    np.testing.assert_array_equal(actual.components.means, expected.components.means)
    np.testing.assert_allclose(*(m.components[1] for m in (actual, expected)), rtol=1e-13)


# How rows are drawn


def test_rows_are_drawn_by_their_squared_distance():
    """Frequencies of pairs over many seeds, against the probabilities of Arthur and Vassilvitskii.

    The chi-squared test fails by chance once in a million; the seeds are fixed.
    """
    x = np.array([0.0, 1.0, 3.0, 7.0])
    n_seeds = 600
    counts = np.zeros((4, 4))
    for seed in range(n_seeds):
        means = ex.initialize(
            x, 2, ex.UnivariateGaussian, method="k-means++", seed=seed
        ).components.means
        counts[tuple(positions(means[:, None], x))] += 1
    squares = (x[:, None] - x) ** 2
    expected = n_seeds / 4 * squares / squares.sum(axis=1, keepdims=True)
    assert np.all(np.diagonal(counts) == 0)
    apart = ~np.eye(4, dtype=bool)
    result = stats.chisquare(counts[apart], expected[apart], sum_check=False)
    assert result.pvalue > 1e-6, counts


def test_rows_are_drawn_by_their_sample_weights():
    """A row of weight 2 is drawn as often as two rows."""
    x = np.array([0.0, 1.0, 3.0])
    sample_weight = np.array([1.0, 4.0, 1.0])
    n_seeds = 400
    counts = np.zeros(3)
    for seed in range(n_seeds):
        mixture = ex.initialize(
            x, 1, ex.UnivariateGaussian, method="k-means++", seed=seed, sample_weight=sample_weight
        )
        counts[positions(mixture.components.means[:, None], x)] += 1
    expected = n_seeds * sample_weight / sample_weight.sum()
    assert stats.chisquare(counts, expected).pvalue > 1e-6, counts


@every_library
def test_clusters_get_a_mean_each(backend):
    """Far apart as they are, no two rows of one cluster are ever chosen before all have one."""
    centres = np.array([[0.0, 0.0], [1e4, 0.0], [0.0, 1e4]])
    x = (centres[:, None, :] + problem(GAUSSIANS[1], n=3 * 10).x.reshape(3, 10, D)).reshape(-1, D)
    for seed in range(5):
        mixture = start(backend, x, GAUSSIANS[1], seed=seed)
        like = BACKENDS["numpy"] if backend.name == "dask" else backend
        assert set(positions(rows_of(like, mixture), x) // 10) == {0, 1, 2}


@numpy_only
@families
def test_units_of_features_are_nothing(backend, record):
    """Distances are measured in deviations: multiplying a feature by 2^20 chooses the same rows."""
    x = problem(record, n=N).x
    scale = 1024.0**2 if record.univariate else np.array([1024.0**2, 1.0])
    for seed in range(3):
        one, other = (start(backend, a, record, seed=seed) for a in (x, x * scale))
        np.testing.assert_array_equal(one.components.means * scale, other.components.means)


@every_library
@families
def test_masked_rows_are_never_chosen(backend, record):
    """Whatever they hold; the others count as if alone."""
    x = problem(record, n=N).x
    masked = np.arange(N) % 3 == 0
    sample_weight = np.where(masked, 0.0, np.arange(N) % 4 + 0.5)
    spoiled = x.copy()
    spoiled[masked] = np.nan
    spoiled[0] = np.inf
    like = BACKENDS["numpy"] if backend.name == "dask" else backend
    for seed in range(3):
        mixture = start(backend, spoiled, record, seed=seed, sample_weight=sample_weight)
        chosen = rows_of(like, mixture)
        assert not masked[positions(chosen, x)].any()
        native = ex.Mixture(None, record.family(*map(like.to_numpy, mixture.components)))
        expected = expected_variances(record, x[~masked], chosen, sample_weight[~masked])
        np.testing.assert_allclose(variances_of(native), expected, rtol=1e-12)


# Degenerate data


@concrete
@families
def test_a_constant_feature(backend, record):
    """Tells nothing, and keeps every variance positive."""
    x = problem(record, n=N).x * (0.0 if record.univariate else np.array([1.0, 0.0])) + 3.0
    mixture = start(backend, x, record)
    second = backend.to_numpy(mixture.components[1])
    assert np.all(np.isfinite(second))
    assert np.all((second if second.ndim < 2 else np.diagonal(second, axis1=-2, axis2=-1)) > 0)
    ex.e_step(backend.data(x), mixture)


@concrete
@families
def test_equal_rows(backend, record):
    """Fewer different rows than components: some are chosen again."""
    x = np.zeros_like(problem(record, n=N).x) + 5.0
    mixture = start(backend, x, record)
    np.testing.assert_array_equal(rows_of(backend, mixture), 5.0)
    ex.e_step(backend.data(x), mixture)


@numpy_only
@families
def test_different_rows_are_chosen_before_any_is_chosen_again(backend, record):
    x = problem(record, n=3).x
    for seed in range(10):
        mixture = start(backend, np.repeat(x, 20, axis=0), record, seed=seed)
        assert set(positions(rows_of(backend, mixture), x)) == {0, 1, 2}


@uncompiled
@families
def test_as_many_components_as_rows(backend, record):
    """Each row is a mean; what is left of the variance must not be zero."""
    x = problem(record, n=N).x[:K]
    mixture = start(backend, x, record)
    assert set(positions(rows_of(backend, mixture), x)) == {0, 1, 2}
    step = ex.e_step(backend.data(x), mixture)
    assert np.all(np.isfinite(backend.to_numpy(step.log_likelihood)))


@uncompiled
@families
def test_a_single_row(backend, record):
    x = problem(record, n=N).x[:1]
    mixture = start(backend, x, record, k=1)
    np.testing.assert_array_equal(rows_of(backend, mixture), x.reshape(1, -1))
    ex.e_step(backend.data(x), mixture)


@pytest.mark.backends("numpy", "jax")
@dtypes
def test_rows_too_far_apart_for_the_dtype(backend, dtype):
    """Variances that overflow are refused, instead of being handed to ``fit``."""
    far = {"float32": 1e25, "float64": 1e200}[dtype]
    with pytest.raises(ValueError, match=r"\bx\b.*variance"):
        start(backend, np.array([0.0, 1.0, 2.0, 3.0]) * far, GAUSSIANS[0], dtype, k=2)


@few_on_jax
@pytest.mark.backends("numpy", "jax", "torch")
@families
def test_a_float32_offset(backend, record):
    """A million away, in float32: the same rows, and nearly the same variances."""
    x = np.round(problem(record, n=N).x * 8) / 8
    near, far = (start(backend, a, record, "float32") for a in (x, x + 2.0**20))
    one, other = (rows_of(backend, m).astype(float) for m in (near, far))
    np.testing.assert_array_equal(one, other - 2.0**20)
    one, other = (backend.to_numpy(m.components[1]) for m in (near, far))
    np.testing.assert_allclose(one, other, rtol=1e-5)


# Refusals


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict")
@pytest.mark.parametrize("case", bad_fits.INITIALIZE, ids=lambda case: case.name)
def test_bad_input_is_refused_with_the_place(backend, case):
    bad_fits.assert_refused(backend, case)


@few_on_jax
@pytest.mark.backends("jax_jit")
@families
def test_lazy_bad_rows_show(backend, record):
    """NaN in a row makes the scale of everything unknown."""
    x = problem(record, n=N).x.copy()
    x[4] = np.nan
    second = backend.to_numpy(start(backend, x, record).components[1])
    assert np.isnan(second).any()
    assert not (second > 0).all()


# Transformations


@jax_only
@pytest.mark.parametrize("record", [GAUSSIANS[0], GAUSSIANS[-1]], ids=lambda record: record.name)
def test_vmap_over_data(backend, record):
    """A batch of data sets, of which some are padded, starts as each alone."""
    import jax
    import jax.numpy as jnp

    xs = [problem(record, seed=seed, n=N).x.copy() for seed in (1, 2)]
    xs[1][20:] = np.nan
    weights = [np.ones(N), np.where(np.arange(N) < 20, 1.0, 0.0)]

    def one(x, sample_weight):
        return ex.initialize(
            x, K, record.family, method="k-means++", seed=7, sample_weight=sample_weight
        )

    both = jax.jit(jax.vmap(one))(*(jnp.stack([backend.data(a) for a in b]) for b in (xs, weights)))
    for i, (x, sample_weight) in enumerate(zip(xs, weights, strict=True)):
        alone = one(x, sample_weight)
        np.testing.assert_array_equal(both.components.means[i], alone.components.means)
        np.testing.assert_allclose(both.components[1][i], alone.components[1], rtol=1e-12)
