"""Which array library, dtype and device results have, and which mixtures of libraries are refused.

Python lists and scalars take after the arrays beside them, integers after the floating dtype.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS
from tests.records import UNIVARIATE, normalised

MEANS, VARIANCES, WEIGHTS = [0.0, 3.0, 5.0], [1.0, 2.0, 0.5], [0.2, 0.3, 0.5]
X = [0.25, 1.5, 4.0, 7.0]


def reference_of(x, weights=WEIGHTS, means=MEANS, variances=VARIANCES):
    """Responsibilities and log-likelihoods by scipy, in float64."""
    params = {"means": np.array(means), "variances": np.array(variances)}
    log_joint = UNIVARIATE.log_joint(np.array(x), np.array(weights), params)
    return ex.EStep(*normalised(log_joint))


REFERENCE = reference_of(X)


def step_of_lists(x):
    return ex.e_step(x, ex.Mixture(WEIGHTS, ex.UnivariateGaussian(MEANS, VARIANCES)))


INTEGERS = {"weights": [1, 1], "means": [0, 3], "variances": [1, 2]}


def step_of_integers(x):
    return ex.e_step(x, ex.Mixture([1, 1], ex.UnivariateGaussian([0, 3], [1, 2])))


def assert_step(backend, step, dtype, reference=REFERENCE):
    eps = np.finfo(dtype).eps
    for result, value in zip(step, reference, strict=True):
        backend.assert_like(result, dtype)
        # T of these data is below 25: 16 eps (1 + T), and twice that for responsibilities.
        np.testing.assert_allclose(backend.to_numpy(result), value, rtol=800 * eps, atol=0)
    for name in ("entropy", "total_log_likelihood", "mean_max_responsibility"):
        backend.assert_like(getattr(step, name), dtype)


# Lists, scalars and integers


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lists_adopt_the_array_beside_them(backend, dtype):
    assert_step(backend, backend.call(step_of_lists, backend.data(X, dtype)), dtype)


@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
@pytest.mark.parametrize("array", ["means", "variances", "weights"])
def test_one_array_among_lists_decides(backend, array):
    """Wherever it stands, also inside the mixture."""
    values = {"means": MEANS, "variances": VARIANCES, "weights": WEIGHTS}
    values[array] = backend.asarray(values[array], "float32")
    components = ex.UnivariateGaussian(values["means"], values["variances"])
    step = ex.e_step(X, ex.Mixture(values["weights"], components))
    assert_step(backend, step, "float32")


@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
def test_lists_in_every_function(backend):
    components = ex.UnivariateGaussian(MEANS, VARIANCES)
    x = backend.data(X, "float32")
    mixture = ex.Mixture(WEIGHTS, components)
    log_prob = components.log_prob(x)
    backend.assert_like(log_prob, "float32")
    backend.assert_like(ex.log_joint(x, mixture), "float32")
    assert_step(backend, ex.posterior(log_prob, WEIGHTS), "float32")
    total = ex.log_likelihood(x, mixture, sample_weight=[1, 0, 2, 0.5])
    backend.assert_like(total, "float32")
    np.testing.assert_allclose(
        backend.to_numpy(total), REFERENCE.log_likelihood @ [1, 0, 2, 0.5], rtol=1e-6
    )
    weights = backend.asarray(WEIGHTS, "float32")
    step = ex.posterior(backend.to_numpy(log_prob).tolist(), weights)
    assert_step(backend, step, "float32")


@pytest.mark.backends("numpy", "array_api_strict", "jax", "torch")
@pytest.mark.parametrize(
    ("family", "covariances"),
    [(ex.TiedGaussian, [[2, 1], [1, 2]]), (ex.FullGaussian, [[[2, 1], [1, 2]]])],
    ids=["tied", "full"],
)
def test_lists_in_from_covariance(backend, family, covariances):
    build = getattr(family, "from_covariances", None) or family.from_covariance
    components = build(backend.asarray([[0.0, 1.0]], "float32"), covariances)
    for field in components:
        backend.assert_like(field, "float32")
    recovered = backend.to_numpy(components.covariances)
    np.testing.assert_allclose(recovered, covariances, rtol=1e-6)


def test_only_lists_give_numpy_float64():
    step = step_of_lists(X)
    assert_step(BACKENDS["numpy"], step, "float64")
    assert type(step.responsibilities) is np.ndarray
    components = ex.UnivariateGaussian([0, 3], [1, 2])
    assert components.log_prob([1, 2]).dtype == np.float64
    assert ex.posterior([[0, 1], [1, 0]], [1, 1]).responsibilities.dtype == np.float64
    assert np.asarray(components.covariances).dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integers_adopt_the_floating_dtype(backend, dtype):
    """Lists of integers, and integer arrays of every kind, beside floating data."""
    x = [0.5, 1.0, 2.0]
    reference = reference_of(x, **INTEGERS)
    step = backend.call(step_of_integers, backend.data(x, dtype))
    assert_step(backend, step, dtype, reference)
    for integer in ("int64", "int32", "uint8"):
        components = ex.UnivariateGaussian(
            backend.asarray([0, 3], integer), backend.asarray([1, 2], integer)
        )
        mixture = ex.Mixture(backend.asarray([1, 1], integer), components)
        step = backend.call(ex.e_step, backend.data(x, dtype), mixture)
        assert_step(backend, step, dtype, reference)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integer_data_adopts_the_floating_dtype_of_the_mixture(backend, dtype):
    components = ex.UnivariateGaussian(
        backend.asarray(MEANS, dtype), backend.asarray(VARIANCES, dtype)
    )
    mixture = ex.Mixture(backend.asarray(WEIGHTS, dtype), components)
    step = backend.call(ex.e_step, backend.data([0, 1, 2, 5], "int64"), mixture)
    assert_step(backend, step, dtype, reference_of([0.0, 1.0, 2.0, 5.0]))


def test_integers_alone_in_numpy_give_float64():
    step = step_of_integers(np.array([0, 1, 2]))
    assert_step(BACKENDS["numpy"], step, "float64", reference_of([0.0, 1.0, 2.0], **INTEGERS))


@pytest.mark.parametrize("wide", ["x", "means", "variances", "weights"])
def test_float32_beside_float64_promotes(backend, wide):
    dtypes = dict.fromkeys(("x", "means", "variances", "weights"), "float32") | {wide: "float64"}
    components = ex.UnivariateGaussian(
        backend.asarray(MEANS, dtypes["means"]), backend.asarray(VARIANCES, dtypes["variances"])
    )
    mixture = ex.Mixture(backend.asarray(WEIGHTS, dtypes["weights"]), components)
    step = backend.call(ex.e_step, backend.data(X, dtypes["x"]), mixture)
    backend.assert_like(step.responsibilities, "float64")
    backend.assert_like(step.log_likelihood, "float64")
    # Promoted before the arithmetic: float32 would leave an error of 1e-8. The float32 weights
    # are exactly what they hold, which is 1e-8 from the list's.
    held = np.asarray(WEIGHTS, dtypes["weights"]).astype(float)
    responsibilities = reference_of(X, held).responsibilities
    np.testing.assert_allclose(
        backend.to_numpy(step.responsibilities), responsibilities, rtol=1e-13
    )


# Several libraries in one call

CONCRETE = ("numpy", "array_api_strict", "jax", "torch")
PAIRS = [("numpy", "jax"), ("numpy", "torch"), ("jax", "torch"), ("numpy", "array_api_strict")]


def mixed_calls(one, two):
    """Every place where arrays of two libraries can meet, by name."""
    x, weights = one.asarray(X), one.asarray(WEIGHTS)
    means, variances = one.asarray(MEANS), one.asarray(VARIANCES)
    same = ex.UnivariateGaussian(means, variances)
    other = ex.UnivariateGaussian(two.asarray(MEANS), two.asarray(VARIANCES))
    half = ex.UnivariateGaussian(means, two.asarray(VARIANCES))
    cov = np.eye(2)
    return {
        "x": lambda: ex.e_step(two.asarray(X), ex.Mixture(weights, same)),
        "components": lambda: ex.e_step(x, ex.Mixture(weights, other)),
        "variances": lambda: ex.log_joint(x, ex.Mixture(weights, half)),
        "weights": lambda: ex.log_likelihood(x, ex.Mixture(two.asarray(WEIGHTS), same)),
        "log_prob": lambda: half.log_prob(x),
        "posterior": lambda: ex.posterior(two.asarray([MEANS]), weights),
        "sample_weight": lambda: ex.log_likelihood(
            x, ex.Mixture(weights, same), sample_weight=two.asarray(X)
        ),
        "covariance": lambda: ex.TiedGaussian.from_covariance(
            one.asarray([[0.0, 1.0]]), two.asarray(cov)
        ),
        "covariances": lambda: ex.FullGaussian.from_covariances(
            one.asarray([[0.0, 1.0]]), two.asarray([cov])
        ),
    }


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("flipped", [False, True], ids=["", "flipped"])
def test_two_concrete_libraries_are_refused_by_name(pair, flipped):
    one, two = (BACKENDS[name] for name in (reversed(pair) if flipped else pair))
    one.require()
    two.require()
    for place, call in mixed_calls(one, two).items():
        with pytest.raises(TypeError) as caught:
            call()
        message = str(caught.value)
        for name in pair:
            assert name in message.lower(), (place, message)
        assert any(word in message for word in ("convert", "asarray", "from_dlpack")), message


@pytest.mark.backends("jax")
def test_numpy_beside_jax_tracers(backend):
    """NumPy constants under jit, and an argument that vmap does not map."""
    import jax

    x, weights = np.array(X), np.array(WEIGHTS)
    components = ex.UnivariateGaussian(np.array(MEANS), np.array(VARIANCES))
    mixture = ex.Mixture(weights, components)
    traced_x = jax.jit(lambda x: ex.e_step(x, mixture))(backend.data(X))
    assert_step(backend, traced_x, "float64")
    traced_mixture = jax.jit(lambda mixture: ex.e_step(x, mixture))(
        jax.tree.map(backend.asarray, mixture)
    )
    assert_step(backend, traced_mixture, "float64")
    traced_weights = jax.jit(lambda w: ex.e_step(x, ex.Mixture(w, components)))(weights)
    assert_step(backend, traced_weights, "float64")
    per_row = jax.vmap(lambda row: ex.e_step(row[None], mixture))(x)
    assert per_row.responsibilities.shape == (4, 1, 3)
    np.testing.assert_allclose(per_row.log_likelihood[:, 0], REFERENCE.log_likelihood, rtol=1e-13)
    batch = jax.vmap(lambda w: ex.log_likelihood(x, ex.Mixture(w, components)))(
        np.stack([weights, 2 * weights])
    )
    np.testing.assert_allclose(batch, [REFERENCE.log_likelihood.sum()] * 2, rtol=1e-13)


@pytest.mark.backends("jax")
def test_lists_and_numpy_integers_beside_tracers(backend):
    """Both adopt the tracer's dtype: NumPy's float64 would turn float32 into float64."""
    import jax

    step = jax.jit(step_of_integers)(backend.data([0.5, 1.0], "float32"))
    assert_step(backend, step, "float32", reference_of([0.5, 1.0], **INTEGERS))
    counts = np.array([1, 1])
    mixture = ex.Mixture(counts, ex.UnivariateGaussian(np.array([0, 3]), np.array([1, 2])))
    step = jax.jit(lambda x: ex.e_step(x, mixture))(backend.data([0.5, 1.0], "float32"))
    assert_step(backend, step, "float32", reference_of([0.5, 1.0], **INTEGERS))


@pytest.mark.backends("dask")
def test_numpy_beside_dask(backend):
    """Parameters and sample weights in NumPy, which need not be chunked."""
    components = ex.UnivariateGaussian(np.array(MEANS), np.array(VARIANCES))
    mixture = ex.Mixture(np.array(WEIGHTS), components)
    assert_step(backend, backend.call(ex.e_step, backend.data(X), mixture), "float64")
    total = backend.call(
        ex.log_likelihood, backend.data(X), mixture, sample_weight=np.array([1.0, 0.0, 2.0, 0.5])
    )
    backend.assert_like(total, "float64")
    np.testing.assert_allclose(
        backend.to_numpy(total), REFERENCE.log_likelihood @ [1.0, 0.0, 2.0, 0.5], rtol=1e-14
    )


# In a process of its own: what an import costs, and a second device


def run_python(program, **environment):
    """Run a program with warnings as errors, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_no_other_library():
    program = """
        import sys
        import estep_xp
        heavy = {"jax", "jaxlib", "torch", "dask", "cupy", "scipy", "sklearn", "pandas",
                 "array_api_strict", "array_api_extra", "typer", "rich", "matplotlib"}
        print(sorted(heavy & set(sys.modules)))
    """
    assert run_python(program).strip() == "[]"


def test_numpy_use_loads_no_other_library():
    """Nor does the first call, block by block and with threads."""
    program = """
        import sys
        import numpy as np
        import estep_xp as ex
        full = ex.FullGaussian.from_covariances(np.zeros((1, 2)), np.eye(2)[None])
        ex.e_step(np.ones((9, 2)), ex.Mixture([1.0], full), block_size=2, workers=2)
        print(sorted({"jax", "torch", "dask", "scipy", "array_api_strict"} & set(sys.modules)))
    """
    assert run_python(program).strip() == "[]"


@pytest.mark.backends("jax")
def test_jax_without_x64(backend):  # noqa: ARG001
    """JAX as it comes: float32 throughout, also beside NumPy's float64, and no warning of it."""
    program = """
        import jax, jax.numpy as jnp, numpy as np
        import estep_xp as ex
        x = jnp.asarray([0.25, 1.5, 4.0])
        mixture = ex.Mixture([0.2, 0.8], ex.UnivariateGaussian([0, 3], [1, 2]))
        constant = ex.Mixture(np.ones(2), ex.UnivariateGaussian(np.zeros(2), np.ones(2)))
        full = ex.FullGaussian.from_covariances(jnp.zeros((1, 2)), np.eye(2)[None].tolist())
        step = ex.e_step(x, mixture)
        results = [*step, step.entropy, step.total_log_likelihood, step.mean_max_responsibility,
                   ex.log_likelihood(x, mixture, sample_weight=[1, 0, 2]), *full,
                   *jax.jit(lambda x: ex.e_step(x, constant))(x),
                   jax.jit(jax.grad(lambda x: ex.log_likelihood(x, constant)))(x)]
        assert all(result.dtype == jnp.float32 for result in results)
        print(len(results))
    """
    assert run_python(program, JAX_PLATFORMS="cpu").strip() == "11"


@pytest.mark.backends("jax")
def test_results_and_lists_stay_on_the_second_jax_device(backend):  # noqa: ARG001
    """Arrays on a device that is not the default: results are there too, lists follow."""
    program = """
        import jax, jax.numpy as jnp
        import estep_xp as ex
        second = jax.devices("cpu")[1]
        x = jax.device_put(jnp.asarray([0.25, 1.5, 4.0], dtype="float32"), second)
        mixture = ex.Mixture([0.2, 0.8], ex.UnivariateGaussian([0, 3], [1, 2]))
        step = ex.e_step(x, mixture)
        results = [*step, step.labels, step.entropy, ex.log_joint(x, mixture),
                   ex.log_likelihood(x, mixture), *ex.posterior(ex.log_joint(x, mixture), [1, 1])]
        assert all(result.devices() == {second} for result in results)
        print(len(results))
    """
    count = run_python(
        program, XLA_FLAGS="--xla_force_host_platform_device_count=2", JAX_PLATFORMS="cpu"
    )
    assert count.strip() == "8"
