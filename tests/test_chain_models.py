"""What is done with a hidden Markov model beside its E-step: starts, samples, files, criteria."""

import json

import numpy as np
import pytest

import estep_xp as ex
from tests.chain_rows import draw, model

COMPONENTS = ex.UnivariateGaussian([2.0, 6.0, 9.0], [1.0, 1.5, 0.5])
ZEROS = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5]])
HMM = ex.HMM(np.array([0.5, 0.5, 0.0]), ZEROS, COMPONENTS)


# --- from_mixture ---------------------------------------------------------------------------------


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch")
def test_a_chain_of_a_mixture_has_its_weights_for_a_stationary_law(backend):
    weights = np.array([1.0, 3.0, 0.0], "float32")
    components = ex.UnivariateGaussian(*(backend.asarray(a, "float32") for a in COMPONENTS))
    hmm = backend.call(
        lambda w, c: ex.HMM.from_mixture(ex.Mixture(w, c), stay=0.75),
        backend.asarray(weights),
        components,
    )
    backend.assert_like(hmm.initial, "float32")
    backend.assert_like(hmm.transitions, "float32")
    a = backend.to_numpy(hmm.transitions)
    np.testing.assert_allclose(a, 0.75 * np.eye(3) + 0.25 * weights / 4, rtol=1e-6)
    np.testing.assert_allclose(backend.to_numpy(hmm.initial), weights / 4, rtol=1e-6)
    np.testing.assert_allclose(weights / 4 @ a, weights / 4, rtol=1e-6)


def test_a_chain_that_never_stays_is_the_mixture():
    mixture = ex.Mixture([0.2, 0.3, 0.5], COMPONENTS)
    x = np.array([2.5, 8.0, 6.0, 1.0])
    got = ex.e_step(x, ex.HMM.from_mixture(mixture, stay=0.0))
    expected = ex.e_step(x, mixture)
    np.testing.assert_allclose(got.responsibilities, expected.responsibilities, rtol=1e-13)


@pytest.mark.parametrize(
    ("mixture", "stay", "error", "words"),
    [
        (HMM, 0.9, TypeError, r"mixture is an? HMM; expected an estep_xp\.Mixture"),
        ("full", 0.9, TypeError, "mixture is 'full'"),
        (ex.Mixture([1, -1, 1], COMPONENTS), 0.9, ValueError, r"weights\[1\] is -1"),
        (ex.Mixture([1, 1, 1], COMPONENTS), 1.5, ValueError, "stay is 1.5; stay must be from 0"),
        (ex.Mixture([1, 1, 1], COMPONENTS), -0.5, ValueError, "stay is -0.5"),
        (ex.Mixture([1, 1, 1], COMPONENTS), "no", TypeError, "stay is 'no'"),
    ],
)
def test_bad_arguments_of_from_mixture(mixture, stay, error, words):
    with pytest.raises(error, match=words):
        ex.HMM.from_mixture(mixture, stay=stay)


# --- sample ---------------------------------------------------------------------------------------


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch")
def test_paths_have_the_frequencies_of_the_chain(backend):
    arrays = [backend.asarray(a) for a in (HMM.initial, HMM.transitions, *COMPONENTS)]
    x, labels = backend.call(
        lambda pi, a, m, v: ex.sample(ex.HMM(pi, a, ex.UnivariateGaussian(m, v)), 6000, seed=3),
        *arrays,
    )
    backend.assert_like(x, "float64")
    backend.assert_like(labels, int)
    x, path = backend.to_numpy(x), backend.to_numpy(labels)
    counts = np.zeros((3, 3))
    np.add.at(counts, (path[:-1], path[1:]), 1)
    assert (counts[ZEROS == 0] == 0).all()
    rows = counts.sum(1, keepdims=True)
    assert (abs(counts - rows * ZEROS) <= 5 * np.sqrt(rows * ZEROS * (1 - ZEROS))).all()
    for state, mean, variance in zip(range(3), *COMPONENTS, strict=True):
        own = x[path == state]
        assert abs(own.mean() - mean) < 5 * np.sqrt(variance / len(own))


def test_the_first_state_follows_the_initial_probabilities():
    firsts = [ex.sample(HMM, 2, seed=seed).labels[0] for seed in range(400)]
    assert set(firsts) == {0, 1}
    assert abs(np.mean(firsts) - 0.5) < 0.12


def test_samples_of_few_rows_and_of_matrices_for_each():
    assert ex.sample(HMM, 0).x.shape == (0,)
    assert ex.sample(HMM, 1).labels.shape == (1,)
    cycles = np.stack([np.roll(np.eye(3), step, axis=1) for step in (0, 1, 2, 1, 1, 0)])
    labels = ex.sample(HMM._replace(transitions=cycles), 6, seed=1).labels
    np.testing.assert_array_equal(np.diff(labels) % 3, [1, 2, 1, 1, 0])
    with pytest.raises(
        ValueError, match=r"transitions has shape \(6, 3, 3\); expected \(5, 3, 3\)"
    ):
        ex.sample(HMM._replace(transitions=cycles), 5)


# --- files ----------------------------------------------------------------------------------------

FULL = ex.FullGaussian.from_covariances(np.eye(3) / 3, np.stack([np.eye(3) * v for v in (1, 2, 3)]))
MODELS = {
    "univariate": HMM,
    "full": ex.HMM([1 / 3, 1e-300, 7.0], ZEROS / 3, FULL),
    "float32": ex.HMM(
        *(np.float32(a) for a in (HMM.initial, ZEROS / 3)),
        ex.Poisson(np.float32([1 / 3, 2, 9])),
    ),
    "varying": HMM._replace(transitions=np.stack([ZEROS, ZEROS / 7, np.eye(3)])),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_bit_comes_back(tmp_path, name):
    path = tmp_path / "model.json"
    ex.save(path, MODELS[name])
    assert json.loads(path.read_text())["format"] == "estep_xp.hmm"
    again = ex.load(path)
    assert type(again) is ex.HMM
    for one, other in zip(again[:2], MODELS[name][:2], strict=True):
        one_more = np.asarray(other)
        assert (one.dtype, one.tobytes()) == (one_more.dtype, one_more.tobytes())
    for one, other in zip(again.components, MODELS[name].components, strict=True):
        assert np.asarray(other, one.dtype).tobytes() == one.tobytes()
    content = path.read_bytes()
    ex.save(path, again)
    assert path.read_bytes() == content


BAD_FILES = [
    ({"transitions": [[1, 0, 0], [0, 1, 0]]}, "transitions: has length 2; must have length 3"),
    ({"transitions": [[1, 0, 0], [0, 1, 0], [0, -1, 1]]}, r"transitions\[2\]: value 2 is -1"),
    ({"transitions": [[1, 0, 0], [0, 1, 0], [0, 0, 0]]}, r"transitions\[2\] sums to 0"),
    ({"transitions": [[1, 0, 0], [0, 1, 0], [0, "1", 0]]}, r"transitions\[2\]: value 2 is \"1\""),
    ({"transitions": 0.5}, "transitions: is 0.5; must be a list"),
    ({"transitions": [[[[1.0]]]]}, "transitions"),
    ({"transitions": [[[1, 0, 0]], [[0, 1, 0]]]}, "transitions"),
    ({"transitions": []}, "transitions"),
    ({"initial": [1, 0]}, "initial: has length 2; must have length 3"),
    ({"initial": [0, 0, 0]}, "initial sums to 0"),
    ({"initial": [1, 1e400, 1]}, "initial: value 2 is 1e400"),
    ({"initial": None}, "initial"),
    ({"format": "estep_xp.mixture"}, "weights"),
    ({"format": "estep_xp.chain"}, "format"),
    ({"version": 2}, "version"),
]


@pytest.mark.parametrize(("changes", "words"), BAD_FILES)
def test_files_that_hold_no_chain(tmp_path, changes, words):
    path = tmp_path / "model.json"
    ex.save(path, HMM)
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(record).replace("Infinity", "1e400"))
    with pytest.raises(ValueError, match=words):
        ex.load(path)


@pytest.mark.parametrize("key", ["initial", "transitions", "means", "family"])
def test_files_that_lack_a_part(tmp_path, key):
    path = tmp_path / "model.json"
    ex.save(path, HMM)
    record = json.loads(path.read_text())
    del record[key]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=key):
        ex.load(path)


def test_a_bad_chain_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match=r"transitions\[1\] sums to 0"):
        ex.save(tmp_path / "m.json", HMM._replace(transitions=np.diag([1.0, 0.0, 1.0])))
    assert not list(tmp_path.iterdir())


# --- criteria and labels --------------------------------------------------------------------------


def test_structural_zeros_are_no_parameters():
    assert ex.n_parameters(HMM) == 6 + 1 + (1 + 0 + 2)
    dense = ex.HMM.from_mixture(ex.Mixture([1, 1, 1], COMPONENTS))
    assert ex.n_parameters(dense) == 6 + 2 + 6
    with pytest.raises(ValueError, match="a matrix for each row of x"):
        ex.n_parameters(MODELS["varying"])


@pytest.mark.backends("numpy", "array_api_strict", "jax", "jax_jit", "torch")
@pytest.mark.parametrize("weight", [None, [2.0, 0.5]])
def test_criteria(backend, weight):
    x = np.array([2.0, 3.0, 8.0, 9.0, 2.0, 6.0, 9.0])
    lengths = np.array([4, 3])
    each = ex.log_density(x, HMM, lengths=lengths)
    w = np.ones(2) if weight is None else np.asarray(weight)
    arrays = [backend.asarray(a) for a in (HMM.initial, HMM.transitions, *COMPONENTS)]
    sample_weight = None if weight is None else backend.asarray(w)

    def criteria(x, pi, a, m, v):
        hmm = ex.HMM(pi, a, ex.UnivariateGaussian(m, v))
        given = {"lengths": lengths, "sample_weight": sample_weight}
        return ex.aic(x, hmm, **given), ex.bic(x, hmm, **given)

    aic, bic = map(backend.to_numpy, backend.call(criteria, backend.data(x), *arrays))
    np.testing.assert_allclose(aic, 2 * 10 - 2 * each @ w, rtol=1e-13)
    np.testing.assert_allclose(bic, 10 * np.log(lengths @ w) - 2 * each @ w, rtol=1e-13)


def test_criteria_of_mixtures_take_no_lengths_and_icl_no_chain():
    mixture = ex.Mixture([1, 1, 1], COMPONENTS)
    for function in (ex.bic, ex.aic, ex.predict):
        with pytest.raises(TypeError, match="lengths are given with a Mixture"):
            function([1.0, 2.0], mixture, lengths=[1, 1])
    with pytest.raises(TypeError, match=r"is an? HMM; expected an estep_xp\.Mixture"):
        ex.icl([1.0, 2.0], HMM)


@pytest.mark.backends("numpy", "jax", "array_api_strict", "dask")
def test_labels_are_the_most_probable_states(backend):
    log_prob, initial, matrix = draw(2, 30, 3, zeros=0.3)
    lengths = np.array([10, 20])
    expected = ex.chain_posterior(log_prob, initial, matrix, lengths=lengths).labels
    labels = backend.call(
        lambda x, pi, a: ex.predict(x, model(pi, a), lengths=lengths),
        backend.data(log_prob),
        *map(backend.asarray, (initial, matrix)),
    )
    np.testing.assert_array_equal(backend.to_numpy(labels), expected)
