"""Models as files: every bit comes back, whole or not at all, and nothing else is read."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import estep_xp as ex
from estep_xp import families
from estep_xp.files import atomic_write, components, strict_json
from tests.commands import FAITHFUL, needs_jax, run, succeed

TINY, HUGE = 5e-324, 1.7976931348623157e308
WEIGHTS = [0.1, TINY, 3.0]
MEANS = [[0.1, -0.0], [-HUGE, TINY], [1 / 3, 1e300]]
FACTORS = [[[0.1, -3.0], [0.0, 1 / 3]], [[1e-150, 0.0], [0.0, 1e150]], [[1.0, 1e9], [0.0, 1e-9]]]
MODELS = {
    "univariate": ex.UnivariateGaussian([0.1, -HUGE, -0.0], [TINY, 1 / 3, HUGE]),
    "spherical": ex.SphericalGaussian(MEANS, [TINY, 1 / 3, HUGE]),
    "diagonal": ex.DiagonalGaussian(MEANS, [[TINY, 1 / 3], [HUGE, 1.0], [2.0, 3.0]]),
    "tied": ex.TiedGaussian(MEANS, FACTORS[2]),
    "full": ex.FullGaussian(MEANS, FACTORS),
    "poisson": ex.Poisson([[0.0, TINY], [HUGE, 1 / 3], [1.0, 2.0]]),
    "bernoulli": ex.Bernoulli([[0.0, 1.0], [TINY, 1 / 3], [0.5, 1 - 2**-53]]),
    "categorical": ex.Categorical([[0.0, 1.0], [TINY, 1 / 3], [HUGE, HUGE]]),
    "exponential": ex.Exponential([TINY, 1 / 3, HUGE]),
    "gamma": ex.Gamma([TINY, 1 / 3, HUGE], [HUGE, 3.0, TINY]),
    "student_t": ex.StudentT(MEANS, FACTORS, [TINY, 1 / 3, HUGE]),
    "factor_analyzer": ex.FactorAnalyzer(MEANS, np.ones((3, 2, 1)), np.full((3, 2), TINY)),
    "von_mises": ex.VonMises([-HUGE, -0.0, 1 / 3], [0.0, TINY, HUGE]),
}
PLAIN = ex.Mixture([0.25, 0.75], ex.DiagonalGaussian([[0.0, 1.0], [2.0, 3.0]], [[1.0, 2.0]] * 2))
by_family = pytest.mark.parametrize("family", MODELS)


class Laplace(NamedTuple):
    means: np.ndarray

    def log_prob(self, x):
        return -abs(x[:, None] - self.means)


def mixture_of(family, dtype="float64", make=np.array):
    with np.errstate(all="ignore"):
        cast = [np.array(a, dtype=dtype) for a in (WEIGHTS, *MODELS[family])]
    if dtype == "float32":
        least, most = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
        signs = [np.where(np.isfinite(a), a, np.copysign(most, a)) for a in cast]
        cast = [
            np.where((a == 0) & ~np.signbit(a) & (a64 != 0), least, a)
            for a, a64 in zip(signs, map(np.asarray, (WEIGHTS, *MODELS[family])), strict=True)
        ]
        cast = [a.astype(dtype) for a in cast]
    weights, *fields = (make(a) for a in cast)
    return ex.Mixture(weights, type(MODELS[family])(*fields)), cast


def bits(mixture):
    fields = [mixture.weights, *mixture.components]
    assert all(type(a) is np.ndarray for a in fields)
    return [(str(a.dtype), a.shape, a.tobytes()) for a in fields]


def test_every_family_of_the_package_is_in_these_tests():
    assert set(components.FAMILIES) == {*MODELS, "product"}  # tests/test_product.py
    assert {family.__name__ for family in components.FAMILIES.values()} == set(families.__all__)


@by_family
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.backends("numpy", "numpy_readonly", "array_api_strict", "jax", "torch")
def test_every_bit_comes_back(tmp_path, backend, family, dtype):
    path = tmp_path / "model.json"
    mixture, expected = mixture_of(family, dtype, lambda a: backend.asarray(a, dtype))
    ex.save(path, mixture)
    again = ex.load(path)
    assert type(again.components) is type(MODELS[family])
    assert bits(again) == [(dtype, a.shape, a.tobytes()) for a in expected]
    assert ex.feature_names(path) is None
    written = path.read_bytes()
    ex.save(path, again)  # over the old file
    assert path.read_bytes() == written


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data(), st.sampled_from(["float64", "float32"]), st.integers(1, 4), st.integers(1, 3))
def test_any_full_mixture_comes_back(tmp_path, data, dtype, k, d):
    width = 8 * np.dtype(dtype).itemsize
    finite = st.floats(allow_nan=False, allow_infinity=False, width=width)
    positive = st.floats(float(np.finfo(dtype).tiny), math.inf, width=width, exclude_max=True)
    weights = data.draw(arrays.arrays(dtype, k, elements=positive))
    means = data.draw(arrays.arrays(dtype, (k, d), elements=finite))
    factors = np.triu(data.draw(arrays.arrays(dtype, (k, d, d), elements=finite)), k=1)
    diagonals = data.draw(arrays.arrays(dtype, (k, d), elements=positive))
    factors[:, range(d), range(d)] = diagonals
    mixture = ex.Mixture(weights, ex.FullGaussian(means, factors))
    ex.save(tmp_path / "model.json", mixture)
    assert bits(ex.load(tmp_path / "model.json")) == bits(mixture)


def test_dask_arrays_are_computed_and_lists_and_integers_are_taken(tmp_path):
    da = pytest.importorskip("dask.array")
    path = tmp_path / "no.suffix"
    ex.save(str(path), ex.Mixture(da.ones(2), ex.Poisson(da.asarray([2.0, 3.0]) * 2)))
    assert ex.load(path).components.rates.tolist() == [4.0, 6.0]
    ex.save(path, ex.Mixture([1, 2], ex.Poisson(np.array([[1], [2]]))))
    assert bits(ex.load(path)) == bits(
        ex.Mixture(np.array([1.0, 2.0]), ex.Poisson(np.array([[1.0], [2.0]])))
    )


def test_covariances_are_for_people_and_may_stand_alone(tmp_path):
    path = tmp_path / "model.json"
    for family in ("tied", "full"):
        exact = type(MODELS[family])(np.eye(3, 2), np.array(FACTORS)[0 if family == "tied" else ()])
        ex.save(path, ex.Mixture([1.0, 1.0, 1.0], exact))
        record = json.loads(path.read_text())
        np.testing.assert_allclose(record["covariances"], exact.covariances, rtol=1e-15)
        del record["precision_cholesky"]
        path.write_text(json.dumps(record))
        assert ex.load(path).components.precision_cholesky.shape == exact[1].shape
    ex.save(path, ex.Mixture([1.0], ex.FullGaussian([[0.0]], [[[1e-200]]])))
    assert "covariances" not in json.loads(path.read_text())  # 1e400
    assert ex.load(path).components.precision_cholesky.item() == 1e-200


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ill_conditioned_covariances_may_round_otherwise(tmp_path, dtype):
    path, rng = tmp_path / "model.json", np.random.default_rng(0)
    for condition in (1.0, np.finfo(dtype).eps ** -0.5):
        factors = np.triu(rng.normal(size=(4, 9, 9)), k=1) / 3 + np.eye(9)
        factors[:, 0, 0] /= condition
        components = ex.FullGaussian(np.zeros((4, 9), dtype), factors.astype(dtype))
        ex.save(path, ex.Mixture(np.ones(4, dtype), components))
        record = json.loads(path.read_text())
        nudge = 1 + rng.uniform(-1, 1, size=(4, 9, 9)) * np.finfo(dtype).eps
        record["covariances"] = (np.array(record["covariances"]) * nudge).tolist()
        path.write_text(json.dumps(record))
        assert ex.load(path).components.precision_cholesky.dtype == dtype
        record["covariances"][2][3][3] *= 2
        path.write_text(json.dumps(record))
        with pytest.raises(ValueError, match=r"covariances\[2\]\[3\]\[3\]: is .* by precis"):
            ex.load(path)


def test_feature_names(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "model.json"
    for names in (["a", "\ud800 é\n"], pandas.DataFrame(columns=["a", "b"]).columns, iter("ab")):
        ex.save(path, PLAIN, feature_names=names)
        assert ex.feature_names(path) in (("a", "b"), ("a", "\ud800 é\n"))
        assert all(type(name) is str for name in ex.feature_names(path))
    one = ex.Mixture([1.0], ex.Poisson([2.0]))
    ex.save(path, one, feature_names=("counts",))
    assert ex.feature_names(path) == ("counts",)


BAD_MODELS = [
    (
        lambda: ex.fit(
            np.arange(9.0), ex.initialize(np.arange(9.0), 1, ex.UnivariateGaussian, seed=0)
        ),
        TypeError,
        r"model is an EMResult; expected an estep_xp.Mixture or HMM; did you mean .mixture\?",
    ),
    (
        lambda: ex.Mixture([1.0], Laplace(np.zeros(1))),
        TypeError,
        r"components are a Laplace; a file can hold those of UnivariateGaussian, .*pickle",
    ),
    (lambda: PLAIN.components, TypeError, r"did you mean Mixture\(weights, components\)"),
    (lambda: None, TypeError, "model is a NoneType"),
    (lambda: PLAIN._replace(weights=[1.0, -1.0]), ValueError, r"weights\[1\] is -1.0"),
    (lambda: PLAIN._replace(weights=[1.0, math.nan]), ValueError, r"weights\[1\] is nan"),
    (lambda: PLAIN._replace(weights=[1.0]), ValueError, "expected one weight for each component"),
    (lambda: ex.Mixture([1.0], ex.Poisson([math.inf])), ValueError, r"rates\[0\] is inf"),
    (lambda: ex.Mixture([1.0], ex.FullGaussian([[0.0]], [[[-1.0]]])), ValueError, "positive diag"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_MODELS)
def test_what_cannot_be_saved(tmp_path, make, error, message):
    path = tmp_path / "model.json"
    with pytest.raises(error, match=message):
        ex.save(path, make())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (["a"], ValueError, "feature_names has length 1; the model has 2 features"),
        (["a", "a"], ValueError, r"feature_names\[1\] is 'a', as feature_names\[0\] is"),
        (["a", 7], TypeError, r"feature_names\[1\] is 7; expected a text"),
        ("ab", TypeError, "feature_names is 'ab'; expected a sequence"),
        ({"a", "b"}, TypeError, "expected a sequence of texts"),
        (7, TypeError, "feature_names is 7"),
    ],
)
def test_names_that_cannot_be_saved(tmp_path, names, error, message):
    with pytest.raises(error, match=message):
        ex.save(tmp_path / "model.json", PLAIN, feature_names=names)
    assert not list(tmp_path.iterdir())


@needs_jax
def test_tracers_have_no_numbers(tmp_path):
    import jax

    def saved(weights):
        ex.save(tmp_path / "model.json", PLAIN._replace(weights=weights))
        return weights

    for transformed in (jax.jit(saved), jax.vmap(saved)):
        with pytest.raises(TypeError, match=r"weights is a .*Tracer, which has no numbers yet"):
            transformed(jax.numpy.ones((2, 2)))


def test_paths(tmp_path):
    for path in (7, b"model.json", None):
        with pytest.raises(TypeError, match=r"expected a str or an os\.PathLike"):
            ex.save(path, PLAIN)
    with pytest.raises(TypeError, match="did you swap path and model"):
        ex.save(PLAIN, "model.json")
    with pytest.raises(FileNotFoundError) as missing:
        ex.load(tmp_path / "none.json")
    assert missing.value.filename == str(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError) as missing:
        ex.save(tmp_path / "none" / "model.json", PLAIN)
    assert missing.value.filename == str(tmp_path / "none" / "model.json")
    for function in (ex.load, ex.feature_names, lambda path: ex.save(path, PLAIN)):
        with pytest.raises(IsADirectoryError):
            function(tmp_path)
    assert not list(tmp_path.iterdir())


def a_file(**changes):
    return json.dumps(
        {"family": "full", "weights": [1], "means": [[0, 0]], "covariances": [[[1, 0], [0, 1]]]}
        | changes
    )


HOSTILE = {
    "nothing": ("", "line 1: is not JSON"),
    "text": ("estep", "line 1: is not JSON"),
    "deep lists": ('{"means": ' + "[" * 100_000, "nested too deeply"),
    "deep objects": ('{"a":' * 100_000, "nested too deeply"),
    "nan": (a_file(weights=[math.nan]), "weights: value 1 is NaN; must be a finite number"),
    "infinity": (a_file(means=[[0, -math.inf]]), r"means\[0\]: value 2 is -Infinity; must be a"),
    "1e400": (a_file().replace("[1]", "[1e400]"), "weights: value 1 is 1e400; must be between"),
    "digits": (a_file().replace("[1]", f"[{'9' * 10**6}]"), r"weights: value 1 is 9+\.\.\.; must"),
    "1e39": (a_file(dtype="float32", weights=[1e39]), "1e.39; must be between -3.4e38 and 3.4e38"),
    "twice": ('{"family": "full", "family": "tied"}', "has family twice"),
    "type": (a_file(weights={"0": 1}), "weights: is an object; must be a list"),
    "ragged": (a_file(family="poisson", rates=[[1, 2], [3]], weights=[1, 1]), r"rates\[1\]: has l"),
    "deep rates": (a_file(family="poisson", rates=[[[[1]]]]), "rates: is nested too deeply"),
    "empty rates": (a_file(family="poisson", rates=[[]]), r"rates\[0\]: is a list of length 0"),
    "negative": (
        a_file(family="poisson", rates=[-1]),
        r"rates\[0\] is -1.0; rates must be non-n",
    ),
    "above 1": (a_file(family="bernoulli", probabilities=[[2]]), r"probabilities\[0, 0\] is 2.0;"),
    "no rates": (a_file(family="poisson"), "rates is missing"),
    "indefinite": (a_file(covariances=[[[1, 2], [2, 1]]]), "not positive definite"),
    "factor": (a_file(precision_cholesky=[[[1, 0], [0, -1]]]), "positive diagonal"),
    "lower": (a_file(precision_cholesky=[[[1, 0], [1, 1]]]), "must be upper triangular"),
    "disagreement": (
        a_file(precision_cholesky=[[[2, 0], [0, 1]]]),
        r"is 1.0 but 0.25 by precisi",
    ),
    "no family": (a_file(family="fool"), 'family: is "fool"; must be one of univariate, spherical'),
    "known": (
        a_file(family="x"),
        "tied, full, bernoulli, categorical, exponential, factor_analyzer, gamma, poisson, "
        "product, student_t, von_mises",
    ),
    "dtype": (a_file(dtype="int8"), 'dtype: is "int8"; must be one of float64, float32'),
    "version": (a_file(version=2), "version: is 2; must be 1"),
    "format": (a_file(format="chain"), 'format: is "chain"; must be one of estep_xp.mixture, est'),
    "names": (a_file(feature_names=["a"]), "feature_names: has length 1; must have length 2"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(tmp_path, name):
    path, (content, message) = tmp_path / "model.json", HOSTILE[name]
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        ex.load(path)
    assert str(error.value).startswith(str(path))
    assert len(str(error.value)) < 500 + len(str(path))
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    path = tmp_path / "model.json"
    os.mkfifo(path)
    for function in (ex.load, ex.feature_names):
        with pytest.raises(ValueError, match="must be a file, not a pipe or a device"):
            function(path)
    with pytest.raises(OSError, match="is not a file that could be replaced"):
        ex.save(path, PLAIN)
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(OSError, match="symbolic links"):
        ex.load(path)
    with pytest.raises(OSError, match="symbolic links"):
        ex.save(path, PLAIN)
    assert [file.name for file in tmp_path.iterdir()] == ["model.json"]


def test_huge_files_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "model.json"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    with pytest.raises(ValueError, match="has more than 1073741824 bytes"):
        ex.load(path)
    path.write_text(a_file(notes=[0] * 100))
    monkeypatch.setattr(strict_json, "MAX_VALUES", 100)
    with pytest.raises(ValueError, match="a model has at most 100"):
        ex.load(path)


@pytest.mark.parametrize("step", ["fsync", "replace", "fdopen"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_old_file_survives_whatever_fails(tmp_path, monkeypatch, step, error):
    path = tmp_path / "model.json"
    ex.save(path, PLAIN)
    before = path.read_bytes()

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(*((Path, step) if step == "replace" else (atomic_write.os, step)), fail)
    with pytest.raises(type(error)) as caught:
        ex.save(path, PLAIN._replace(weights=[1.0, 1.0]))
    if isinstance(error, OSError):
        assert (caught.value.errno, caught.value.filename) == (28, str(path))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model.json"]


def test_links_and_the_umask(tmp_path):
    (tmp_path / "link").symlink_to("real")
    before = os.umask(0o027)
    with contextlib.ExitStack() as stack:
        stack.callback(os.umask, before)
        ex.save(tmp_path / "link", PLAIN)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640


# --- the command line writes and reads the same file ----------------------------------------------


def test_run_reproduces_a_fit_to_the_last_bit(tmp_path):
    model, out = str(tmp_path / "model.json"), str(tmp_path / "out.npy")
    options = ("--components", "3", "--family", "full", "--output", model, "--json")
    fitted = json.loads(succeed("fit", FAITHFUL, *options))
    ran = json.loads(succeed("run", FAITHFUL, "--model", model, "--output", out, "--json"))
    assert ran["log_likelihood"] == fitted["log_likelihood"]
    x = np.loadtxt(FAITHFUL, delimiter=",", skiprows=1)
    start = ex.initialize(x, 3, ex.FullGaussian, seed=0)
    assert bits(ex.load(model)) == bits(ex.fit(x, start, seed=0).mixture)
    assert ex.feature_names(model) == ("eruptions", "waiting")
    again = tmp_path / "again.json"
    ex.save(again, ex.load(model), feature_names=ex.feature_names(model))
    assert again.read_bytes() == Path(model).read_bytes()


@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
def test_run_applies_what_save_has_written(tmp_path, family):
    model, data, out = (tmp_path / name for name in ("model", "x.csv", "out.npy"))
    x = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    data.write_text("b,a\n" + "".join(f"{b},{a}\n" for a, b in x))
    numbers = [[0.1, 0.9], [0.5, 0.5]]
    mixture = ex.Mixture([1.0, 3.0], type(MODELS[family])(numbers))
    ex.save(model, mixture, feature_names=["a", "b"])
    succeed("run", str(data), "--model", str(model), "--output", str(out))
    found, step = np.load(out), ex.e_step(x, mixture)
    np.testing.assert_allclose(found["responsibilities"], step.responsibilities, rtol=1e-15)
    data.write_text("b,a\n0,1\n0,0.5\n")
    outcome = run("run", str(data), "--model", str(model), "--output", str(out), "--force")
    place = f"{data} line 3: value 2 is 0.5; {MODELS[family]._support}\n"
    assert outcome == (2, "", place)
