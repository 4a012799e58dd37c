"""`partial_fit`: stepwise EM on batches of rows."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture as Theirs

from estep_xp.sklearn import GaussianMixture

PATH = Path(__file__).parent.parent / "examples" / "data" / "faithful.csv"
FAITHFUL = np.loadtxt(PATH, delimiter=",", skiprows=1)
START = {
    "n_components": 2,
    "weights_init": [0.5, 0.5],
    "means_init": [[2.0, 50.0], [4.0, 80.0]],
    "precisions_init": np.stack([np.diag(1.0 / FAITHFUL.var(axis=0))] * 2),
}


def batches(rows, size=20):
    return [rows[i : i + size] for i in range(0, len(rows), size)]


class TextbookStepwiseEM:
    """Cappé and Moulines (2009) for full covariances, with raw moments about the origin."""

    def __init__(self, weights, means, covariances, floor=1e-6):
        self.weights, self.means, self.covariances = map(np.asarray, (weights, means, covariances))
        self.floor, self.sums = floor, None

    def step(self, x, share):
        logs = []
        for w, m, c in zip(self.weights, self.means, self.covariances, strict=True):
            z = x - m
            squares = np.einsum("ni,ij,nj->n", z, np.linalg.inv(c), z)
            logs.append(np.log(w) - 0.5 * (squares + np.linalg.slogdet(2 * np.pi * c)[1]))
        joint = np.stack(logs, axis=1)
        total = np.log(np.exp(joint).sum(axis=1))
        r = np.exp(joint - total[:, None]) / len(x)
        new = [r.sum(axis=0), r.T @ x, np.einsum("nk,ni,nj->kij", r, x, x), total.mean()]
        if self.sums is None:
            self.sums = new
        else:
            pairs = zip(self.sums, new, strict=True)
            self.sums = [(1 - share) * old + share * batch for old, batch in pairs]
        counts, first, second, self.bound = self.sums
        self.weights = counts
        self.means = first / counts[:, None]
        outer = self.means[:, :, None] * self.means[:, None, :]
        self.covariances = second / counts[:, None, None] - outer + self.floor * np.eye(x.shape[1])


@pytest.mark.backends("numpy", "jax", "torch", "array_api_strict", "dask")
@pytest.mark.parametrize("step_size", [None, 0.3])
def test_batches_take_the_steps_of_the_textbook(backend, step_size):
    covariances = np.linalg.inv(START["precisions_init"])
    textbook = TextbookStepwiseEM(START["weights_init"], START["means_init"], covariances)
    gm = GaussianMixture(**START)
    parts = batches(FAITHFUL)[:4]
    for t, batch in enumerate(parts, 1):
        textbook.step(batch, t**-0.6 if step_size is None else step_size)
        gm.partial_fit(backend.data(batch), step_size=step_size)
        np.testing.assert_allclose(gm.lower_bound_, textbook.bound, rtol=1e-9)
    assert gm.n_iter_ == len(gm.lower_bounds_) == len(parts)
    for name in ("weights", "means", "covariances"):
        value = getattr(gm, f"{name}_")
        host = value if backend.name == "dask" else backend.to_numpy(value)
        np.testing.assert_allclose(host, getattr(textbook, name), rtol=1e-7)


def test_a_few_passes_reach_the_optimum_of_all_rows():
    best = Theirs(2, tol=1e-10, max_iter=1000, random_state=0).fit(FAITHFUL)
    gm = GaussianMixture(2, random_state=0)
    rows = np.random.default_rng(0).permutation(FAITHFUL)
    for _ in range(10):
        for batch in batches(rows):  # the last one of 12 rows
            gm.partial_fit(batch)
    assert best.score(FAITHFUL) - gm.score(FAITHFUL) < 1e-3


def test_the_same_batches_give_the_same_bits():
    models = [GaussianMixture(3, random_state=1) for _ in range(2)]
    for batch in batches(FAITHFUL):
        for gm in models:
            gm.partial_fit(batch)
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        np.testing.assert_array_equal(*(getattr(gm, name) for gm in models))


def test_too_few_rows_are_waited_for():
    gm = GaussianMixture(4, random_state=0)
    weighted = GaussianMixture(4, random_state=0)
    for row in FAITHFUL[:3]:
        assert gm.partial_fit([row]) is gm
        weighted.partial_fit([row], sample_weight=[2.0])
        with pytest.raises(NotFittedError, match="of the at least n_components=4 rows"):
            gm.predict(FAITHFUL)
        with pytest.raises(NotFittedError, match="Call 'partial_fit' with more"):
            gm.sample()
    gm.partial_fit(FAITHFUL[3:5])
    weighted.partial_fit(FAITHFUL[3:5], sample_weight=[2.0, 2.0])
    at_once = GaussianMixture(4, random_state=0).partial_fit(FAITHFUL[:5])
    np.testing.assert_array_equal(gm.means_, at_once.means_)
    np.testing.assert_allclose(weighted.means_, at_once.means_, rtol=1e-9)
    assert gm.n_iter_ == 1


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_single_rows_one_by_one_collapse_nothing(covariance_type):
    gm = GaussianMixture(2, covariance_type=covariance_type, random_state=0)
    for row in FAITHFUL[:150]:
        gm.partial_fit([row])
    assert np.isfinite(gm.score(FAITHFUL))
    best = Theirs(2, covariance_type=covariance_type, random_state=0).fit(FAITHFUL)
    assert best.score(FAITHFUL) - gm.score(FAITHFUL) < 1.0


def test_a_stream_goes_on_from_a_fit():
    gm = GaussianMixture(2, random_state=0).fit(FAITHFUL)
    before, n_iter = gm.means_.copy(), gm.n_iter_
    gm.partial_fit(FAITHFUL[:20])
    assert gm.n_iter_ == n_iter + 1
    assert 0 < np.abs(gm.means_ - before).max() < 3.0
    gm.fit(FAITHFUL)  # begins anew
    np.testing.assert_array_equal(gm.means_, before)


def test_rows_of_a_short_batch_count_no_more_than_others():
    whole = GaussianMixture(**START).partial_fit(FAITHFUL[:20])
    before = whole.weights_
    short, repeated = (pickle.loads(pickle.dumps(whole)) for _ in range(2))
    short.partial_fit(FAITHFUL[20:25])
    moved = (short.weights_ - before)[0]
    repeated.partial_fit(np.repeat(FAITHFUL[20:25], 4, axis=0))
    mean = (20 + 5) / 2  # rows a batch
    np.testing.assert_allclose(moved, (repeated.weights_ - before)[0] * 5 / mean, rtol=1e-9)


def test_a_constant_step_forgets():
    rng = np.random.default_rng(0)
    gm = {size: GaussianMixture(1) for size in (None, 0.3)}
    for t in range(60):
        batch = rng.normal(t / 10.0, 1.0, (50, 1))
        for size, model in gm.items():
            model.partial_fit(batch, step_size=size)
    assert abs(float(gm[0.3].means_[0, 0]) - 5.9) < 0.5
    assert float(gm[None].means_[0, 0]) < 5.5


@pytest.mark.parametrize("step_size", [0.0, -0.1, 1.5, np.nan, "one"])
def test_bad_step_sizes(step_size):
    with pytest.raises((ValueError, TypeError), match="step_size"):
        GaussianMixture(2).partial_fit(FAITHFUL, step_size=step_size)


def test_a_batch_of_other_features_is_refused():
    gm = GaussianMixture(2, random_state=0).partial_fit(FAITHFUL)
    with pytest.raises(ValueError, match="X has 1 features, but GaussianMixture is expecting 2"):
        gm.partial_fit(FAITHFUL[:, :1])
