"""What our estimator does beyond scikit-learn's: weights, any arrays, attributes set by hand."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import estep_xp as ex
from estep_xp.sklearn import GaussianMixture

X = load_iris().data
TYPES = ("full", "tied", "diag", "spherical")
INITS = ("kmeans", "k-means++", "random", "random_from_data", "auto")
ARRAYS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_")

every_type = pytest.mark.parametrize("covariance_type", TYPES)
fittable = pytest.mark.backends(
    "numpy", "numpy_readonly", "jax", "torch", "array_api_strict", "dask"
)


def start_of(x, k=3):
    """An explicit start of full covariances."""
    precisions = np.stack([np.diag(1.0 / x.var(axis=0))] * k)
    return {
        "n_components": k,
        "weights_init": np.full(k, 1.0 / k),
        "means_init": x[:: len(x) // k][:k],
        "precisions_init": precisions,
    }


def number(value):
    return np.asarray(value.compute() if hasattr(value, "compute") else value)


# Arrays of any library


@fittable
@pytest.mark.parametrize("init_params", ["kmeans", "random"])
def test_any_array_in_and_out(backend, init_params):
    reference = GaussianMixture(3, init_params=init_params, random_state=0).fit(X)
    x = backend.data(X)
    gm = GaussianMixture(3, init_params=init_params, random_state=0).fit(x)
    assert gm.n_iter_ == reference.n_iter_
    for name in ARRAYS:
        value = getattr(gm, name)
        if backend.name != "dask":
            backend.assert_like(value, "float64")
        host = value if backend.name == "dask" else backend.to_numpy(value)
        np.testing.assert_allclose(host, getattr(reference, name), rtol=1e-7, atol=1e-9)
    for method in ("predict", "predict_proba", "score_samples"):
        result = getattr(gm, method)(x)
        backend.assert_native(result)
        expected = getattr(reference, method)(X)
        np.testing.assert_allclose(backend.to_numpy(result), expected, rtol=1e-7, atol=1e-9)
    for method in ("score", "aic", "bic"):
        value = getattr(gm, method)(x)
        assert type(value) is float
        np.testing.assert_allclose(value, getattr(reference, method)(X), rtol=1e-9)
    rows, labels = gm.sample(7)
    if backend.name != "dask":
        backend.assert_like(rows, "float64")
        backend.assert_like(labels, int)
        np.testing.assert_allclose(backend.to_numpy(rows), reference.sample(7)[0], rtol=1e-6)


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict", "dask")
@pytest.mark.parametrize("init_params", ["k-means++", "random_from_data", "auto"])
def test_every_start_on_any_array(backend, init_params):
    gm = GaussianMixture(2, covariance_type="diag", init_params=init_params, random_state=0)
    reference = clone(gm).fit(X)
    gm.fit(backend.data(X))
    np.testing.assert_allclose(gm.score(backend.data(X)), reference.score(X), rtol=1e-6)


@pytest.mark.backends("numpy", "jax", "torch")
def test_single_precision_stays_and_is_right_far_from_the_origin(backend):
    offset = 1000.0
    x = (X + offset).astype("float32")
    wide = x.astype(float)
    double = GaussianMixture(**start_of(wide)).fit(wide)
    gm = clone(double).fit(backend.data(x))
    backend.assert_like(gm.covariances_, "float32")
    assert gm.n_iter_ == double.n_iter_
    np.testing.assert_allclose(number(gm.covariances_), double.covariances_, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(number(gm.lower_bound_), double.lower_bound_, rtol=1e-4)


@pytest.mark.backends("jax", "torch", "array_api_strict")
def test_another_library_than_that_of_the_fit_is_refused(backend):
    gm = GaussianMixture(2, random_state=0).fit(X)
    for method in ("predict", "predict_proba", "score_samples", "score", "aic", "bic"):
        message = rf"Inputs passed to GaussianMixture.{method}\(\) must use the same namespace"
        with pytest.raises(ValueError, match=message):
            getattr(gm, method)(backend.data(X))
    native = GaussianMixture(2, random_state=0).fit(backend.data(X))
    with pytest.raises(ValueError, match="must use the same namespace"):
        native.predict(X)


def test_gradients_of_tensors_end_at_a_fit():
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, requires_grad=True)
    for method in ("fit", "partial_fit"):
        gm = getattr(GaussianMixture(2, random_state=0), method)(x)
        assert not gm.means_.requires_grad
        (slopes,) = torch.autograd.grad(gm.score_samples(x).sum(), x)
        assert slopes.shape == x.shape


@pytest.mark.backends("jax", "torch")
def test_shapes_of_arrays_of_other_libraries(backend):
    gm = GaussianMixture(2, random_state=0)
    with pytest.raises(ValueError, match="Expected 2D array, got array of shape"):
        gm.fit(backend.data(X[:, 0]))
    with pytest.raises(ValueError, match=r"Found array with 1 sample\(s\)"):
        gm.fit(backend.data(X[:1]))
    gm.fit(backend.data(X))
    with pytest.raises(ValueError, match="X has 3 features, but GaussianMixture is expecting 4"):
        gm.predict(backend.data(X[:, :3]))
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"x\[3, 1\] is nan"):
        GaussianMixture(2, init_params="random", random_state=0).fit(backend.data(bad))


def test_names_of_data_frames():
    frame = load_iris(as_frame=True).data
    gm = GaussianMixture(3, random_state=0).fit(frame)
    assert list(gm.feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(gm.predict(frame), clone(gm).fit_predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        gm.predict(frame.rename(columns={frame.columns[0]: "other"}))


# Weights of rows


@every_type
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_weight_counts_a_row_that_often(covariance_type, method):
    weight = np.arange(len(X)) % 3
    start = start_of(X)
    diagonal = 1.0 / X.var(axis=0)
    start["precisions_init"] = {
        "full": start["precisions_init"],
        "tied": np.diag(diagonal),
        "diag": np.stack([diagonal] * 3),
        "spherical": np.full(3, diagonal.mean()),
    }[covariance_type]
    gm = GaussianMixture(covariance_type=covariance_type, **start)
    weighted = getattr(clone(gm), method)(X, sample_weight=weight)
    repeated = getattr(clone(gm), method)(np.repeat(X, weight, axis=0))
    for name in (*ARRAYS, "lower_bounds_", "n_iter_"):
        np.testing.assert_allclose(
            getattr(weighted, name), getattr(repeated, name), rtol=1e-8, atol=1e-10
        )
    for criterion in ("score", "aic", "bic"):
        ours = getattr(weighted, criterion)(X, sample_weight=weight)
        np.testing.assert_allclose(ours, getattr(repeated, criterion)(np.repeat(X, weight, axis=0)))


@pytest.mark.parametrize("init_params", INITS)
def test_rows_of_weight_zero_count_for_nothing(init_params):
    x = np.concatenate([X, np.full((50, 4), 100.0)])
    weight = np.repeat([1.0, 0.0], [150, 50])
    gm = GaussianMixture(3, init_params=init_params, random_state=0).fit(x, sample_weight=weight)
    assert number(gm.means_).max() < 10
    assert np.isfinite(gm.lower_bound_)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), "sample_weight"),
        (-np.ones(150), "sample_weight"),
        (np.zeros(150), "sample_weight is zero for all rows"),
    ],
)
def test_bad_weights(weight, message):
    for method in ("fit", "fit_predict", "partial_fit"):
        with pytest.raises(ValueError, match=message):
            getattr(GaussianMixture(2), method)(X, sample_weight=weight)


# Attributes set by hand


@every_type
def test_parameters_without_a_fit(covariance_type):
    fitted = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    for name in ("precisions_cholesky_", "covariances_", "precisions_"):
        gm = GaussianMixture(3, covariance_type=covariance_type)
        gm.weights_, gm.means_ = fitted.weights_, fitted.means_
        setattr(gm, name, getattr(fitted, name))
        np.testing.assert_allclose(gm.score_samples(X), fitted.score_samples(X), rtol=1e-8)


def test_attributes_that_are_changed_are_used_at_the_next_call():
    gm = GaussianMixture(3, random_state=0).fit(X)
    before = gm.score(X)
    assert gm.mixture_ is gm.mixture_
    gm.means_[0] += 0.5  # in place
    assert gm.score(X) < before
    gm.means_ = gm.means_ - [[0.5], [0.0], [0.0]]
    np.testing.assert_allclose(gm.score(X), before, rtol=1e-12)
    gm.covariances_ = 2.0 * gm.covariances_
    mixture = ex.Mixture(gm.weights_, ex.FullGaussian.from_covariances(gm.means_, gm.covariances_))
    np.testing.assert_allclose(gm.score_samples(X), ex.log_density(X, mixture), rtol=1e-12)
    gm.weights_ = np.asarray([0.0, 0.5, 0.5])
    assert not (gm.predict(X) == 0).any()


def test_the_mixture_serves_the_functions_of_the_package():
    gm = GaussianMixture(3, random_state=0).fit(X)
    assert isinstance(gm.mixture_.components, ex.FullGaussian)
    np.testing.assert_array_equal(gm.predict_proba(X), ex.e_step(X, gm.mixture_).responsibilities)
    np.testing.assert_allclose(gm.bic(X), ex.bic(X, gm.mixture_), rtol=1e-12)


def test_impossible_rows():
    gm = GaussianMixture(2, random_state=0).fit(X)
    far = [[1e200] * 4, X[0].tolist()]
    for method, expected in (("predict", 0), ("score_samples", -np.inf), ("predict_proba", np.nan)):
        with pytest.warns(RuntimeWarning, match="1 row has zero density under every component"):
            result = getattr(gm, method)(far)
        np.testing.assert_array_equal(np.ravel(result)[0], expected)


# scikit-learn's machinery


def test_what_is_not_fitted_says_so():
    gm = GaussianMixture(2)
    for method in ("predict", "predict_proba", "score_samples", "score", "aic", "bic"):
        with pytest.raises(NotFittedError, match="is not fitted yet"):
            getattr(gm, method)(X)
    with pytest.raises(NotFittedError):
        gm.sample()
    assert not hasattr(gm, "mixture_")


def test_clones_and_pickles():
    gm = GaussianMixture(3, random_state=0).fit(X)
    again = pickle.loads(pickle.dumps(gm))
    np.testing.assert_array_equal(again.predict_proba(X), gm.predict_proba(X))
    again.partial_fit(X[:10])
    assert not hasattr(clone(gm), "means_")


def test_in_a_grid_search_and_a_pipeline():
    grid = {"n_components": [1, 2], "covariance_type": list(TYPES)}
    search = GridSearchCV(
        GaussianMixture(random_state=0), grid, cv=KFold(3, shuffle=True, random_state=0)
    ).fit(X)
    assert search.best_params_["n_components"] == 2
    pipeline = make_pipeline(StandardScaler(), GaussianMixture(3, random_state=0))
    pipeline.set_output(transform="pandas").fit(load_iris(as_frame=True).data)
    assert hasattr(pipeline[-1], "feature_names_in_")


def test_weights_are_routed():
    weight = np.ones(len(X))
    weight[:50] = 0.0
    with sklearn.config_context(enable_metadata_routing=True):
        gm = GaussianMixture(2, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        pipeline = make_pipeline(scaler, gm).fit(X, sample_weight=weight)
        assert "step_size" not in str(gm.get_metadata_routing().partial_fit.requests)
    expected = clone(gm).fit(scaler.transform(X), sample_weight=weight)
    np.testing.assert_allclose(pipeline[-1].means_, expected.means_)


def test_what_has_not_converged_warns_at_the_users_line():
    with pytest.warns(ConvergenceWarning, match="did not converge") as record:
        GaussianMixture(3, max_iter=1, random_state=0).fit(X)
    assert record[0].filename == __file__


def test_parameters_are_checked():
    bad = {"init_params": "other", "tol": -1.0, "n_components": 0, "covariance_type": 1}
    for name, value in bad.items():
        gm = GaussianMixture().set_params(**{name: value})
        with pytest.raises(ValueError, match=f"The '{name}' parameter of GaussianMixture must be"):
            gm.fit(X)


def test_tied_one_hot_starts_do_not_depend_on_the_origin():
    options = {
        "covariance_type": "tied",
        "init_params": "k-means++",
        "random_state": 0,
        "max_iter": 0,
    }
    near, far = (GaussianMixture(3, **options).fit(x).covariances_ for x in (X, X + 1000.0))
    np.testing.assert_allclose(near, far, rtol=1e-6, atol=1e-9)
