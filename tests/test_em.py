"""EM: what it climbs, where it stops, whom it agrees with, and what interrupts it."""

from __future__ import annotations

import functools
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_iris, load_wine
from sklearn.mixture import GaussianMixture

import estep_xp as ex
from tests import bad_fits, em_oracle
from tests.backends import BACKENDS
from tests.families import RECORDS, normalised, problem

N, K, D = 30, 3, 2

families = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
two_families = pytest.mark.parametrize(
    "record", [RECORDS[0], RECORDS[-1]], ids=lambda record: record.name
)
dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
concrete = pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
# jit costs a compilation each time; what is compiled has a section of its own.
libraries = pytest.mark.backends(
    "numpy", "numpy_readonly", "array_api_strict", "jax", "torch", "dask"
)
jax_only = pytest.mark.backends("jax")
shared_by_jax = pytest.mark.shared_by_jax("record", "accelerate")  # see conftest.py
# So many iterations are asked for, and no more; test_fit_warnings.py has the warnings.
cut_short = pytest.mark.filterwarnings("ignore::estep_xp.ConvergenceWarning")
# Few rows, and a floor as wide as some components.
narrow = pytest.mark.filterwarnings("ignore::estep_xp.CollapseWarning")

NUMPY = BACKENDS["numpy"]


def fit(backend, case, dtype="float64", sample_weight=None, **options):
    """Fit from the mixture of a problem. Dask must compute to know when to stop."""
    if sample_weight is not None:
        options["sample_weight"] = backend.data(sample_weight, dtype)
    x, mixture = backend.data(case.x, dtype), case.mixture(backend, dtype)
    if backend.name == "dask":
        return ex.fit(x, mixture, **options)
    return backend.call(ex.fit, x, mixture, **options)


def like(backend):
    """Who owns the results: NumPy, of what Dask computed."""
    return NUMPY if backend.name == "dask" else backend


def in_numpy(backend, result):
    """Bring the arrays of a result to NumPy, and cut the padding off its history."""
    own = like(backend)
    n_iter = int(result.n_iter)
    components = type(result.mixture.components)(*map(own.to_numpy, result.mixture.components))
    return result._replace(
        mixture=ex.Mixture(own.to_numpy(result.mixture.weights), components),
        log_likelihood=own.to_numpy(result.log_likelihood),
        n_iter=n_iter,
        converged=bool(result.converged),
        history=own.to_numpy(result.history)[:n_iter],
    )


def assert_same_fit(one, other, rtol=1e-12):
    """Compare two results in NumPy, iteration by iteration."""
    assert (one.n_iter, one.converged) == (other.n_iter, other.converged)
    np.testing.assert_allclose(one.history, other.history, rtol=rtol)
    np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=rtol)
    assert_same_mixture(one.mixture, other.mixture, 1000 * rtol)


def assert_same_mixture(one, other, rtol=1e-10):
    assert type(one.components) is type(other.components)
    pairs = zip((one.weights, *one.components), (other.weights, *other.components), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


# Every library


@cut_short
@libraries
@families
@dtypes
def test_a_few_iterations(backend, record, dtype):
    """Against plain EM in NumPy; and what the result is made of."""
    case = problem(record, dtype=dtype, n=N)
    result = fit(backend, case, dtype, max_iter=4, tol=0.0, variance_floor=0.01)
    assert type(result) is ex.EMResult
    own = like(backend)
    for array in (
        result.log_likelihood,
        result.history,
        result.mixture.weights,
        *result.mixture.components,
    ):
        own.assert_like(array, dtype)
    result = in_numpy(backend, result)
    end, heights = em_oracle.em(case, 4, floor=0.01)
    assert result.n_iter == 4
    assert not result.converged
    assert result.history.shape == (4,)
    assert result.log_likelihood == result.history[-1]
    rtol = 1000 * np.finfo(dtype).eps
    np.testing.assert_allclose(result.history, heights, rtol=rtol)
    expected = ex.Mixture(end.weights, record.family(**end.params))
    assert_same_mixture(result.mixture, expected, rtol=10 * rtol)


@cut_short
@libraries
@families
def test_masked_and_weighted_rows(backend, record):
    case = problem(record, n=N)
    masked = np.arange(N) % 5 == 0
    sample_weight = np.where(masked, 0.0, np.arange(N) % 3 + 0.5)
    x = case.x.copy()
    x[masked] = np.nan
    options = {"max_iter": 4, "tol": 0.0, "variance_floor": 0.01}
    result = fit(backend, case._replace(x=x), sample_weight=sample_weight, **options)
    _, heights = em_oracle.em(case._replace(x=case.x[~masked]), 4, sample_weight[~masked], 0.01)
    np.testing.assert_allclose(in_numpy(backend, result).history, heights, rtol=1e-12)


@concrete
def test_lists_and_integers(backend):
    x = backend.asarray([1, 2, 2, 7, 8, 9])
    result = ex.fit(x, ex.Mixture([1, 1], ex.UnivariateGaussian([2, 7], [1, 1])))
    means = backend.to_numpy(result.mixture.components.means)
    np.testing.assert_allclose(means, [5 / 3, 8], rtol=1e-4)


# Real data

EXAMPLES = Path(__file__).parents[1] / "examples" / "data"


class Sample(NamedTuple):
    """Real data, and what is fitted to them."""

    name: str
    x: Any
    k: int
    record: Any

    def start(self):
        return ex.initialize(self.x, self.k, self.record.family, seed=0)

    @property
    def rows(self):
        return np.reshape(self.x, (len(self.x), -1))


def samples():
    faithful = np.loadtxt(EXAMPLES / "faithful.csv", delimiter=",", skiprows=1)
    galaxies = np.loadtxt(EXAMPLES / "galaxies.csv", skiprows=1)
    data = {
        "faithful": (faithful, 2),
        "waiting": (faithful[:, 1], 2),
        "galaxies": (galaxies, 3),
        "iris": (load_iris().data, 3),
        "wine": (load_wine().data, 3),
    }
    for name, (x, k) in data.items():
        for record in RECORDS:
            if record.univariate == (x.ndim == 1):
                yield Sample(name, x, k, record)


SAMPLES = list(samples())
real_data = pytest.mark.parametrize(
    "sample", SAMPLES, ids=lambda sample: f"{sample.name}-{sample.record.name}"
)


@functools.cache
def fitted(index, accelerate, variance_floor=1e-6):
    """Fit a sample to the end; several tests look at it."""
    sample = SAMPLES[index]
    return ex.fit(
        sample.x,
        sample.start(),
        tol=1e-10,
        max_iter=10_000,
        accelerate=accelerate,
        variance_floor=variance_floor,
    )


def floor_effect(mixture, n, floor):
    covariances = np.asarray(mixture.components.covariances)
    if covariances.ndim == 3:
        inverse_squares = np.trace(np.linalg.matrix_power(covariances, -2), axis1=1, axis2=2)
    else:
        inverse_squares = np.sum(covariances**-2.0)
    return float(n * floor**2 * np.max(inverse_squares) / 4)


def rounding_of(log_likelihood):
    return 1e-11 * abs(log_likelihood)


@real_data
@pytest.mark.parametrize("accelerate", [False, True], ids=["plain", "accelerated"])
@pytest.mark.parametrize("variance_floor", [0.0, 1e-6])
def test_the_history_never_falls(sample, accelerate, variance_floor):
    """By more than rounding; it starts no lower than the start and ends at the result."""
    result = fitted(SAMPLES.index(sample), accelerate, variance_floor)
    assert result.converged is True
    before = float(ex.log_likelihood(sample.x, sample.start()))
    rises = np.diff([before, *result.history])
    allowed = rounding_of(result.log_likelihood)
    if accelerate:
        # A floor e keeps the M-step from the maximum of its objective by N e² tr(C⁻²) / 4 at most:
        # nothing, but for a component that would collapse without it. An extrapolation may come
        # nearer, and the next step leads back.
        allowed += floor_effect(result.mixture, len(sample.x), variance_floor)
    assert rises.min() >= -allowed, rises.min()
    assert len(result.history) == result.n_iter
    assert result.history[-1] == result.log_likelihood
    total = ex.log_likelihood(sample.x, result.mixture)
    np.testing.assert_allclose(result.log_likelihood, total, rtol=1e-13)


KINDS = {
    "univariate": "diag",
    "spherical": "spherical",
    "diagonal": "diag",
    "tied": "tied",
    "full": "full",
}


@functools.cache
def scikit_learn(index):
    """Fit scikit-learn's mixture from the same start, by the same rule."""
    sample = SAMPLES[index]
    weights, components = sample.start()
    if hasattr(components, "variances"):
        precisions = 1.0 / components.variances
    else:
        factors = components.precision_cholesky
        precisions = factors @ np.swapaxes(factors, -1, -2)
    kind = KINDS[sample.record.name]
    return GaussianMixture(
        sample.k,
        covariance_type=kind,
        tol=1e-10,
        max_iter=10_000,
        weights_init=weights,
        means_init=components.means.reshape(sample.k, -1),
        precisions_init=precisions[:, None] if sample.record.univariate else precisions,
    ).fit(sample.rows)


@real_data
def test_scikit_learns_optimum(sample):
    """From the same start to the same mixture, not only to the same height."""
    index = SAMPLES.index(sample)
    result, other = fitted(index, False), scikit_learn(index)
    total = other.score(sample.rows) * len(sample.x)
    assert abs(result.log_likelihood - total) < 1e-6
    # scikit-learn counts E-steps, the first included.
    assert abs(result.n_iter + 1 - other.n_iter_) <= 1
    scale = sample.rows.std(axis=0)
    means = result.mixture.components.means.reshape(sample.k, -1)
    np.testing.assert_allclose(result.mixture.weights, other.weights_, rtol=0, atol=1e-5)
    np.testing.assert_allclose(means / scale, other.means_ / scale, rtol=0, atol=1e-4)


@real_data
def test_acceleration_reaches_the_same_optimum(sample):
    plain, fast = (fitted(SAMPLES.index(sample), accelerate) for accelerate in (False, True))
    assert fast.converged
    assert abs(fast.log_likelihood - plain.log_likelihood) < 1e-6 * len(sample.x)
    assert fast.n_iter <= plain.n_iter


def test_acceleration_saves_iterations():
    """On these data it takes half of them: 229 instead of 442."""
    plain, fast = (
        sum(fitted(i, accelerate).n_iter for i in range(len(SAMPLES)))
        for accelerate in (False, True)
    )
    assert fast < 0.6 * plain, (fast, plain)


@cut_short
@families
def test_acceleration_falls_back_where_it_leaps_too_far(record):
    """Shapeless data, where extrapolations often overshoot: never lower, and no slower."""
    counts = [0, 0]
    for seed in (0, 1, 3, 4):
        case = problem(record, seed=seed, n=200)
        options = {"tol": 1e-7, "max_iter": 500, "variance_floor": 0.0}
        for accelerate in (False, True):
            result = fit(NUMPY, case, accelerate=accelerate, **options)
            rises = np.diff(result.history)
            assert rises.min() >= -rounding_of(result.log_likelihood), (seed, accelerate)
            counts[accelerate] += result.n_iter
    assert counts[1] < counts[0]


@real_data
def test_aic_bic_and_icl(sample):
    """Of scikit-learn's own fit; it knows no ICL, so that one is computed by hand."""
    index = SAMPLES.index(sample)
    result, other = fitted(index, False), scikit_learn(index)
    np.testing.assert_allclose(result.aic(sample.x), other.aic(sample.rows), rtol=1e-8)
    np.testing.assert_allclose(result.aic(), result.aic(sample.x), rtol=1e-12)
    np.testing.assert_allclose(result.bic(sample.x), other.bic(sample.rows), rtol=1e-8)
    shares = other.predict_proba(sample.rows)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum()
    expected = other.bic(sample.rows) + 2 * entropy
    np.testing.assert_allclose(result.icl(sample.x), expected, rtol=1e-6)


# When it stops


@families
def test_the_rule_for_stopping(record):
    """As soon as the log-likelihood per row rises by less than tol, and no sooner."""
    case = problem(record, n=N)
    for sample_weight in (None, np.arange(N) % 3):
        n = N if sample_weight is None else sample_weight.sum()
        result = fit(NUMPY, case, sample_weight=sample_weight, tol=1e-3)
        total = ex.log_likelihood(case.x, case.mixture(NUMPY), sample_weight=sample_weight)
        rises = np.abs(np.diff([total, *result.history])) / n
        assert result.converged
        assert rises[-1] < 1e-3 <= rises[:-1].min()


@cut_short
def test_not_converged_at_max_iter():
    sample = SAMPLES[0]
    result = ex.fit(sample.x, sample.start(), max_iter=3, tol=1e-10)
    assert (result.converged, result.n_iter, result.history.shape) == (False, 3, (3,))
    assert result.history[-1] == result.log_likelihood
    again = ex.fit(sample.x, result.mixture, max_iter=2, tol=1e-10)
    whole = ex.fit(sample.x, sample.start(), max_iter=5, tol=1e-10)
    np.testing.assert_allclose(again.history, whole.history[3:], rtol=1e-13)


@cut_short
def test_converged_at_max_iter():
    """It did, if only just."""
    sample = SAMPLES[0]
    n_iter = ex.fit(sample.x, sample.start()).n_iter
    assert ex.fit(sample.x, sample.start(), max_iter=n_iter).converged is True
    assert ex.fit(sample.x, sample.start(), max_iter=n_iter - 1).converged is False


@cut_short
def test_a_tolerance_of_zero_never_converges_by_itself():
    sample = SAMPLES[0]
    result = ex.fit(sample.x, sample.start(), tol=0.0, max_iter=60)
    assert (result.converged, result.n_iter) == (False, 60)


# Sample weights


@cut_short
@families
def test_whole_sample_weights_are_repetitions(record):
    case = problem(record, n=N)
    times = np.arange(N) % 4
    options = {"max_iter": 6, "tol": 0.0, "variance_floor": 0.01}
    weighted = fit(NUMPY, case, sample_weight=times, **options)
    repeated = fit(NUMPY, case._replace(x=np.repeat(case.x, times, axis=0)), **options)
    assert_same_fit(weighted, repeated)


@narrow
@families
@pytest.mark.parametrize("accelerate", [False, True])
def test_the_scale_of_sample_weights_changes_only_the_log_likelihood(record, accelerate):
    case = problem(record, n=N)
    sample_weight = np.arange(N) % 4 / 2 + 0.25
    options = {"tol": 1e-4, "variance_floor": 0.01, "accelerate": accelerate}
    one = fit(NUMPY, case, sample_weight=sample_weight, **options)
    other = fit(NUMPY, case, sample_weight=1024 * sample_weight, **options)
    scaled = other._replace(
        log_likelihood=other.log_likelihood / 1024, history=other.history / 1024
    )
    assert_same_fit(one, scaled)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch", "dask")
def test_criteria_with_sample_weights(backend):
    """Weights are repetitions there, too, and masked rows may hold anything."""
    case = problem(RECORDS[-1], n=N)
    times = np.arange(N) % 4
    repeated = np.repeat(case.x, times, axis=0)
    x = case.x.copy()
    x[times == 0] = np.nan
    mixture = case.mixture(backend)
    result = ex.EMResult(mixture, backend.asarray(0.0), 1, True, backend.asarray([0.0]))
    joint = case.record.log_joint(repeated, case.weights, case.params)
    shares, log_likelihood = normalised(joint)
    n_parameters = (K - 1) + K * D + K * D * (D + 1) / 2
    aic = 2 * n_parameters - 2 * log_likelihood.sum()
    bic = n_parameters * np.log(len(repeated)) - 2 * log_likelihood.sum()
    icl = bic - 2 * (shares * np.log(shares)).sum()
    actual = backend.call(criteria, result, backend.data(x), backend.data(times, "float64"))
    for value, expected in zip(actual, (aic, bic, icl), strict=True):
        backend.assert_like(value, "float64")
        np.testing.assert_allclose(backend.to_numpy(value), expected, rtol=1e-12)


def criteria(result, x, sample_weight):
    return tuple(
        criterion(x, sample_weight=sample_weight)
        for criterion in (result.aic, result.bic, result.icl)
    )


# float32, far away


@functools.cache
def two_clusters(univariate):
    rng = np.random.default_rng(11)
    x = rng.standard_normal((1000, 2))
    x[500:] += 6.0
    return x[:, 0] if univariate else x


def cluster_start(record, c, backend, dtype):
    means = np.array([[c + 0.5, c + 0.5], [c + 5.0, c + 5.0]])
    second = {
        "univariate": np.ones(2),
        "spherical": np.ones(2),
        "diagonal": np.ones((2, 2)),
        "tied": np.eye(2),
        "full": np.stack([np.eye(2)] * 2),
    }[record.name]
    means = means[:, 0] if record.univariate else means
    components = record.family(backend.asarray(means, dtype), backend.asarray(second, dtype))
    return ex.Mixture(backend.asarray([0.5, 0.5], dtype), components)


@pytest.mark.backends("numpy", "jax")
@families
@pytest.mark.parametrize("c", [0.0, 1e4, 1e6])
def test_float32_offsets(backend, record, c):
    """Variances within 2 % of the float64 fit without an offset."""
    x = two_clusters(record.univariate)
    reference = ex.fit(x, cluster_start(record, 0.0, NUMPY, "float64")).mixture
    start = cluster_start(record, c, backend, "float32")
    result = ex.fit(backend.data(x + c, "float32"), start)
    assert result.converged
    backend.assert_like(result.mixture.components.means, "float32")
    actual, expected = (
        variances_of(np.asarray(components.covariances, dtype=float), record)
        for components in (result.mixture.components, reference.components)
    )
    np.testing.assert_allclose(actual, expected, rtol=0.02)
    means = np.asarray(result.mixture.components.means, dtype=float) - c
    np.testing.assert_allclose(means, reference.components.means, rtol=0, atol=0.07)
    np.testing.assert_allclose(result.mixture.weights, [0.5, 0.5], rtol=0.02)


def variances_of(covariances, record):
    if record.name in ("tied", "full"):
        return np.diagonal(covariances, axis1=-2, axis2=-1)
    return covariances


# Several starts


@pytest.mark.backends("numpy", "jax_jit")
def test_the_best_of_several_starts(backend):
    """The given mixture is the first, the others come from the seeds that follow."""
    x = np.loadtxt(EXAMPLES / "galaxies.csv", skiprows=1)
    poor = ex.Mixture(np.ones(5), ex.UnivariateGaussian(np.full(5, 2e4), np.full(5, 1e7)))
    options = {"tol": 1e-6, "max_iter": 300}
    starts = [poor, *(ex.initialize(x, 5, ex.UnivariateGaussian, seed=3 + i) for i in (1, 2))]
    alone = [ex.fit(x, start, **options) for start in starts]
    best = max(alone, key=lambda result: result.log_likelihood)
    assert best is not alone[0]
    native = ex.Mixture(
        backend.asarray(poor.weights), ex.UnivariateGaussian(*map(backend.asarray, poor.components))
    )
    result = backend.call(ex.fit, backend.data(x), native, n_init=3, seed=3, **options)
    assert_same_fit(in_numpy(backend, result), best, rtol=1e-9)
    again = backend.call(ex.fit, backend.data(x), native, n_init=3, seed=3, **options)
    for one, other in zip(result.mixture.components, again.mixture.components, strict=True):
        np.testing.assert_array_equal(one, other)
    # A good first start stays the best.
    kept = ex.fit(x, best.mixture, n_init=3, seed=3, **options)
    assert kept.log_likelihood >= best.log_likelihood


# Callbacks, Ctrl-C and the progress bar


def test_the_callback_sees_every_iteration():
    seen = []
    sample = SAMPLES[0]
    result = ex.fit(sample.x, sample.start(), callback=seen.append)
    assert [one.n_iter for one in seen] == list(range(1, result.n_iter + 1))
    assert [one.converged for one in seen] == [False] * (result.n_iter - 1) + [True]
    for one in seen:
        np.testing.assert_array_equal(one.history, result.history[: one.n_iter])
        assert one.log_likelihood == result.history[one.n_iter - 1]
        total = ex.log_likelihood(sample.x, one.mixture)
        np.testing.assert_allclose(one.log_likelihood, total, rtol=1e-13)


@cut_short
@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt])
@pytest.mark.parametrize("n_init", [1, 3])
def test_an_interrupted_fit_gives_the_last_whole_iteration(error, n_init):
    """Of the start it was at, without trying the others."""
    sample = SAMPLES[0]
    calls = []

    def interrupt(result):
        calls.append(result)
        if len(calls) == 4:
            raise error

    options = {"tol": 0.0, "max_iter": 50}
    result = ex.fit(sample.x, sample.start(), callback=interrupt, n_init=n_init, **options)
    assert len(calls) == 4
    assert_same_fit(result, ex.fit(sample.x, sample.start(), tol=0.0, max_iter=4), rtol=0)


def test_ctrl_c_in_the_middle_of_an_iteration():
    """The signal comes half-way through an E-step; what it had done is lost, and no more."""
    x = np.random.default_rng(2).standard_normal((200_000, 4))
    start = ex.initialize(x[:1000], 8, ex.DiagonalGaussian, seed=0)
    calls = []

    def alarm(result):
        calls.append(result)
        if len(calls) == 2:
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        result = ex.fit(x, start, tol=0.0, max_iter=1000, callback=alarm)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert result.n_iter == len(calls) < 1000
    assert not result.converged
    assert result.history.shape == (result.n_iter,)
    assert result.history[-1] == result.log_likelihood
    np.testing.assert_allclose(
        result.log_likelihood, ex.log_likelihood(x, result.mixture), rtol=1e-12
    )


def test_other_errors_of_a_callback_come_through():
    def broken(_):
        raise ZeroDivisionError

    sample = SAMPLES[0]
    with pytest.raises(ZeroDivisionError):
        ex.fit(sample.x, sample.start(), callback=broken)


@pytest.mark.parametrize("n_init", [1, 2])
def test_the_progress_bar(capsys, n_init):
    """On standard error, with the log-likelihood; the result is the same."""
    sample = SAMPLES[0]
    result = ex.fit(sample.x, sample.start(), progress=True, n_init=n_init, max_iter=50)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "log-likelihood" in captured.err
    assert "/50" in captured.err
    if n_init == 1:
        assert f"{float(result.log_likelihood):.6f}" in captured.err
    else:
        assert "start 2 of 2" in captured.err
    plain = ex.fit(sample.x, sample.start(), n_init=n_init, max_iter=50)
    assert_same_fit(result, plain, rtol=0)


def test_the_progress_bar_goes_away_with_an_error(capsys):
    x = np.array([0.0, 1.0, 1e200])
    start = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0]))
    with pytest.raises(ValueError, match="zero density"):
        ex.fit(x, start, progress=True)
    capsys.readouterr()
    sample = SAMPLES[0]
    ex.fit(sample.x, sample.start(), progress=True)
    assert "log-likelihood" in capsys.readouterr().err


def test_progress_needs_rich(monkeypatch):
    for name in [*(name for name in sys.modules if name.partition(".")[0] == "rich"), "rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    sample = SAMPLES[0]
    with pytest.raises(ImportError, match=r"progress=True needs rich.*estep_xp\[cli\]"):
        ex.fit(sample.x, sample.start(), progress=True)


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize(
    "option", [{"callback": print}, {"progress": True}], ids=["callback", "progress"]
)
def test_callback_and_progress_are_refused_under_jit(backend, option):
    with pytest.raises(TypeError, match=r"callback and progress .*jit"):
        fit(backend, problem(RECORDS[0], n=N), max_iter=5, **option)


# Refusals


@pytest.mark.backends("numpy", "jax")
@pytest.mark.parametrize("case", bad_fits.FIT, ids=lambda case: case.name)
def test_bad_input_is_refused_with_the_place(backend, case):
    bad_fits.assert_refused(backend, case)


@concrete
@families
def test_rows_of_no_density_are_refused(backend, record):
    case = problem(record, n=N)
    x = case.x.copy()
    x[[4, 9]] = 1e200
    with pytest.raises(ValueError, match=r"2 rows have zero density .* is row 4"):
        fit(backend, case._replace(x=x))


@concrete
def test_a_variance_that_vanishes_is_refused(backend):
    """A component collapses onto equal rows when there is no floor."""
    x = np.array([0.0, 0.0, 0.0, 5.0, 6.0, 7.0])
    start = ex.Mixture(
        backend.asarray([0.5, 0.5]),
        ex.UnivariateGaussian(backend.asarray([0.0, 6.0]), backend.asarray([1e-4, 1.0])),
    )
    with pytest.raises(ValueError, match=r"variances\[0\].*variance_floor"):
        ex.fit(backend.data(x), start, variance_floor=0.0)
    with pytest.warns(ex.CollapseWarning, match="component 0 has collapsed"):
        result = ex.fit(backend.data(x), start, variance_floor=1e-6)
    assert result.converged
    np.testing.assert_allclose(
        backend.to_numpy(result.mixture.components.variances), [1e-6, 2 / 3], rtol=1e-5
    )


# Compiled

COMPILED = {"tol": 1e-3, "max_iter": 60, "variance_floor": 0.01}


@pytest.mark.backends("jax_jit")
@shared_by_jax
@families
@pytest.mark.parametrize("accelerate", [False, True])
def test_jit_is_the_same_as_without(backend, record, accelerate):
    """The same iterations and numbers; the history is padded with NaN."""
    case = problem(record, n=N)
    result = fit(backend, case, **COMPILED, accelerate=accelerate)
    expected = fit(NUMPY, case, **COMPILED, accelerate=accelerate)
    assert expected.converged
    assert 2 < expected.n_iter < COMPILED["max_iter"]
    assert result.history.shape == (COMPILED["max_iter"],)
    assert np.isnan(result.history[expected.n_iter :]).all()
    assert_same_fit(in_numpy(backend, result), expected, rtol=1e-9)
    for array in (result.n_iter, result.converged):
        backend.assert_native(array)


@pytest.mark.backends("jax_jit")
@two_families
@pytest.mark.parametrize("accelerate", [False, True])
def test_nan_never_converges(backend, record, accelerate):
    """Under jit nobody can raise; nor may anybody mistake it for a fit."""
    case = problem(record, n=N)
    x = case.x.copy()
    x[3] = np.nan
    result = fit(backend, case._replace(x=x), **COMPILED, accelerate=accelerate)
    assert not bool(result.converged)
    assert np.isnan(result.log_likelihood)
    assert np.isnan(result.history).all()


@jax_only
@shared_by_jax
@families
@pytest.mark.parametrize("accelerate", [False, True])
def test_eager_jax_is_the_same_as_numpy(backend, record, accelerate):
    case = problem(record, n=N)
    result = fit(backend, case, **COMPILED, accelerate=accelerate)
    assert isinstance(result.n_iter, int)
    assert isinstance(result.converged, bool)
    expected = fit(NUMPY, case, **COMPILED, accelerate=accelerate)
    assert_same_fit(in_numpy(backend, result), expected, rtol=1e-9)


@narrow
@jax_only
@two_families
def test_vmap_over_mixtures(backend, record):
    """Each stops when it is done, as if alone, though the batch goes on."""
    import jax
    import jax.numpy as jnp

    case = problem(record, n=N)
    starts = [problem(record, seed=seed, n=N)._replace(x=case.x) for seed in (1, 2, 3)]
    mixtures = jax.tree.map(lambda *a: jnp.stack(a), *(one.mixture(backend) for one in starts))
    results = jax.jit(
        jax.vmap(lambda x, mixture: ex.fit(x, mixture, **COMPILED), in_axes=(None, 0))
    )(backend.data(case.x), mixtures)
    alone = [fit(NUMPY, one, **COMPILED) for one in starts]
    assert len({one.n_iter for one in alone}) > 1
    for i, expected in enumerate(alone):
        one = jax.tree.map(lambda a, i=i: a[i], results)
        assert_same_fit(in_numpy(backend, one), expected, rtol=1e-9)


@narrow
@jax_only
@two_families
def test_vmap_over_padded_data_sets(backend, record):
    """Data sets of 30, 20 and 25 rows in one call, padded with NaN of weight 0."""
    import jax
    import jax.numpy as jnp

    lengths = (30, 20, 25)
    cases = [problem(record, seed=seed, n=N) for seed in (1, 2, 3)]
    start = cases[0].mixture(backend)
    padded = [case.x.copy() for case in cases]
    weights = []
    for x, length in zip(padded, lengths, strict=True):
        x[length:] = np.nan
        weights.append(np.where(np.arange(N) < length, 1.0, 0.0))

    def one(x, sample_weight, mixture):
        return ex.fit(x, mixture, sample_weight=sample_weight, **COMPILED)

    results = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))(
        *(jnp.stack([backend.data(a) for a in batch]) for batch in (padded, weights)), start
    )
    for i, (case, length) in enumerate(zip(cases, lengths, strict=True)):
        alone = fit(NUMPY, cases[0]._replace(x=case.x[:length]), **COMPILED)
        result = jax.tree.map(lambda a, i=i: a[i], results)
        assert_same_fit(in_numpy(backend, result), alone, rtol=1e-9)


@pytest.mark.backends("jax_jit")
def test_a_compiled_result_is_a_pytree_of_arrays(backend):
    """In float32, too, and against plain EM in NumPy."""
    import jax

    case = problem(RECORDS[-1], dtype="float32", n=N)
    result = fit(backend, case, "float32", max_iter=4, tol=0.0, variance_floor=0.01)
    _, heights = em_oracle.em(case, 4, floor=0.01)
    np.testing.assert_allclose(result.history, heights, rtol=1e-4)
    for array in (result.log_likelihood, result.history, *result.mixture.components):
        backend.assert_like(array, "float32")
    leaves, structure = jax.tree.flatten(result)
    assert len(leaves) == 3 + 4
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    assert type(jax.tree.unflatten(structure, leaves)) is ex.EMResult


@jax_only
def test_tolerance_and_floor_may_be_traced(backend):
    """A batch of floors in one call."""
    import jax
    import jax.numpy as jnp

    case = problem(RECORDS[0], n=N)
    x, mixture = backend.data(case.x), case.mixture(backend)

    def one(tol, floor):
        return ex.fit(x, mixture, tol=tol, variance_floor=floor, max_iter=40)

    tols, floors = (1e-3, 1e-4), (0.1, 0.01)
    results = jax.jit(jax.vmap(one))(jnp.asarray(tols), jnp.asarray(floors))
    for i, (tol, floor) in enumerate(zip(tols, floors, strict=True)):
        result = jax.tree.map(lambda a, i=i: a[i], results)
        expected = fit(NUMPY, case, tol=tol, variance_floor=floor, max_iter=40)
        assert_same_fit(in_numpy(backend, result), expected, rtol=1e-9)


# Derivatives


def fitted_height(family, max_iter, **options):
    def height(x, weights, first, second):
        mixture = ex.Mixture(weights, family(first, second))
        return ex.fit(x, mixture, max_iter=max_iter, **options).log_likelihood

    return height


@jax_only
@pytest.mark.parametrize(
    ("record", "accelerate"),
    [(RECORDS[0], True), (RECORDS[-1], False)],
    ids=["univariate, accelerated", "full"],
)
def test_a_fit_has_derivatives(backend, record, accelerate):
    """Those of its iterations, one after the other, against central differences."""
    import jax

    case = problem(record, n=N)
    arrays = case.arrays(backend)
    height = fitted_height(record.family, 5, accelerate=accelerate, tol=0.0)
    slopes = jax.jit(jax.grad(height, argnums=(0, 1, 2, 3)))(*arrays)
    plain = jax.jit(height)
    for position, (array, slope) in enumerate(zip(arrays, slopes, strict=True)):
        index = (0,) * array.ndim
        ends = []
        for step in (1e-5, -1e-5):
            moved = list(arrays)
            moved[position] = array.at[index].add(step)
            ends.append(float(plain(*moved)))
        np.testing.assert_allclose(slope[index], (ends[0] - ends[1]) / 2e-5, rtol=1e-5, atol=1e-6)


@jax_only
def test_a_fit_that_stops_early_has_the_derivative_of_its_iterations(backend):
    import jax

    case = problem(RECORDS[0], n=N)
    arrays = case.arrays(backend)
    result = ex.fit(arrays[0], case.mixture(backend), tol=1e-3)
    assert result.converged
    stopped = jax.grad(fitted_height(case.record.family, 100, tol=1e-3))(*arrays)
    counted = jax.grad(fitted_height(case.record.family, result.n_iter, tol=0.0))(*arrays)
    np.testing.assert_allclose(stopped, counted, rtol=1e-9)


@cut_short
@narrow
@jax_only
def test_settings_may_be_traced_beside_concrete_rows(backend):
    import jax
    import jax.numpy as jnp

    case = problem(RECORDS[0], n=N)
    x, mixture = backend.data(case.x), case.mixture(backend)
    tols = [1e-2, 1e-6]
    counts = jax.vmap(lambda tol: ex.fit(x, mixture, tol=tol).n_iter)(jnp.asarray(tols))
    assert counts.tolist() == [ex.fit(x, mixture, tol=tol).n_iter for tol in tols]

    def by_floor(floor):
        return ex.fit(x, mixture, max_iter=3, tol=0.0, variance_floor=floor).log_likelihood

    _, slope = jax.jvp(by_floor, (0.1,), (1.0,))
    difference = float(by_floor(0.1 + 1e-5) - by_floor(0.1 - 1e-5)) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=1e-5)


@cut_short
def test_an_extrapolation_never_ends_a_fit():
    """It may come out at the height of the step before, with a long climb still ahead."""
    rng = np.random.default_rng(59)
    x = np.concatenate([rng.normal(size=(60, 2)), rng.normal(size=(40, 2)) + 1.5])
    start = ex.initialize(x, 3, ex.FullGaussian, seed=59)
    result = ex.fit(x, start, tol=1e-4, accelerate=True)
    assert result.converged
    further = ex.fit(x, result.mixture, max_iter=1)
    assert further.log_likelihood - result.log_likelihood < 1e-4 * len(x)
