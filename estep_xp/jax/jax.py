"""What JAX adds: derivatives that statistics needs, differentiable fits, parameters without bounds.

Everything else in the package takes JAX arrays as it is: ``jax.grad(estep_xp.log_likelihood)``.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

try:
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree
    from jax.scipy.linalg import solve_triangular
except ImportError as error:
    raise ImportError('estep_xp.jax needs JAX; pip install "estep_xp[jax]"') from error

from estep_xp.arrays.namespace import is_concrete
from estep_xp.arrays.quiet import quiet
from estep_xp.arrays.record_repr import sizes, summarized
from estep_xp.arrays.validation import check_number, check_shape, check_whole
from estep_xp.em import fit as em_fit
from estep_xp.em.m_step import check_floor, m_step
from estep_xp.em.statistics import Statistics, expected_statistics
from estep_xp.execution.jax.sizes import by_rows
from estep_xp.families import contract
from estep_xp.mixture.call import Problem, check_density, padded, pose
from estep_xp.mixture.estep import log_likelihood
from estep_xp.mixture.mixture import Mixture, check_mixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array, ArrayLike

__all__ = [
    "ImplicitFit",
    "Unconstrained",
    "constrain",
    "em_step",
    "fit",
    "observed_information",
    "scores",
    "standard_errors",
    "unconstrain",
]

# Rows, and directions of derivatives, that are worked on at a time.
_ROWS, _DIRECTIONS = 1024, 16

# Steps of the linear solver between restarts, and restarts.
_KRYLOV, _RESTARTS = 64, 16


# Derivatives of the log-likelihood


def scores(x: ArrayLike, mixture: Mixture, *, block_size: int = _ROWS) -> Mixture:
    """Gradient of each row's log-likelihood with respect to the mixture.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one a row; shape (n,) for univariate components.
    mixture : Mixture
        Weights and components, of a family of your own, too, if it is a pytree.
    block_size : int, optional
        Rows worked on at a time.

    Returns
    -------
    Mixture
        Its arrays have a leading axis of n rows. The sum over it is the gradient of
        `estep_xp.log_likelihood`.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Notes
    -----
    By Fisher's identity a row's score is the gradient of its expected complete-data log-density,
    responsibilities held fixed.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> for row in ex.jax.scores([1.0, 4.0, 7.0], mixture).components.means:
    ...     print("{:.4f} {:.4f}".format(*row))
    -0.9997 -0.0011
    0.7721 -0.8186
    0.0000 0.6667
    """
    block_size = check_whole("block_size", block_size, 1)
    problem = _posed(x, mixture)
    mixture = problem.mixture

    def of_rows(x: Array) -> tuple[Array, ...]:
        return tuple(jax.tree.leaves(_scores(block_size, x, mixture)))

    totals, *slopes = by_rows(of_rows, problem.rows)
    check_density(problem, totals)
    scores: Mixture = jax.tree.unflatten(jax.tree.structure(mixture), slopes)
    return scores


@functools.partial(jax.jit, static_argnums=0)
def _scores(block_size: int, x: Array, mixture: Mixture) -> tuple[Array, Mixture]:
    def of_row(row: Array) -> Any:
        return jax.value_and_grad(lambda mixture: log_likelihood(row[None], mixture))(mixture)

    results: tuple[Array, Mixture] = jax.lax.map(of_row, x, batch_size=block_size)
    return results


def observed_information(
    x: ArrayLike, mixture: Mixture, *, sample_weight: ArrayLike | None = None
) -> Array:
    """Minus the second derivatives of the log-likelihood: how sharply it singles out parameters.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one a row; shape (n,) for univariate components.
    mixture : Mixture
        Of one of the package's families; for standard errors, the fitted one.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row.

    Returns
    -------
    array, shape (p, p)
        Symmetric, by the p free parameters in this order: all weights but the last, which is one
        minus their sum; the means; variances, or the upper triangles of precision Cholesky factors
        row by row.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Notes
    -----
    Louis (1982) writes it as expected complete-data information minus the variance of scores; here
    it is the derivative of Fisher's identity, direction by direction, in blocks of rows.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([1.0], ex.UnivariateGaussian([2.0], [4.0]))
    >>> information = ex.jax.observed_information([0.0, 2.0, 4.0], mixture)
    >>> for row in information:  # by mean and variance
    ...     print("{:.4f} {:.4f}".format(*row + 0.0))
    0.7500 0.0000
    0.0000 0.0312
    """
    problem = _posed(x, mixture, sample_weight)
    _statistics(problem)  # raises for bad rows
    information: Array = _information(padded(problem).rows, problem.mixture)
    return information


@jax.jit
def _information(rows: tuple[Array, ...], mixture: Mixture) -> Array:
    x, *weight = rows
    vector, mixture_of = _free(mixture)

    def total(vector: Array) -> Array:
        return log_likelihood(x, mixture_of(vector), sample_weight=weight[0] if weight else None)

    def column(direction: Array) -> Array:
        return jax.jvp(jax.grad(total), (vector,), (direction,))[1]

    basis = jnp.eye(vector.size, dtype=vector.dtype)
    columns = jax.lax.map(column, basis, batch_size=min(_DIRECTIONS, max(1, vector.size)))
    return -0.5 * (columns + columns.T)


def standard_errors(
    x: ArrayLike,
    mixture: Mixture,
    *,
    sample_weight: ArrayLike | None = None,
    of: Callable[[Mixture], Any] | None = None,
) -> Any:
    """Standard errors of a mixture fitted by maximum likelihood, from the observed information.

    Parameters
    ----------
    x : array, shape (n, d)
        The observations of the fit.
    mixture : Mixture
        The fitted mixture, of one of the package's families.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row.
    of : callable, optional
        A function of a mixture that gives arrays, to have the standard errors of these instead
        (the delta method): ``lambda mixture: mixture.components.covariances``.

    Returns
    -------
    Mixture, or arrays as `of` gives them
        The standard error of each number. Weights sum to 1, so the last has one, too.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value, or the information is not positive
        definite: then the likelihood has no maximum here. Under ``jit`` the result is NaN instead.

    Notes
    -----
    Square roots of the diagonal of the inverse observed information (McLachlan and Peel 2000,
    section 2.16), which holds for many rows and components that are well apart.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([1.0], ex.UnivariateGaussian([2.0], [4.0]))
    >>> errors = ex.jax.standard_errors([0.0, 2.0, 4.0], mixture)
    >>> print(f"{errors.components.means[0]:.4f}")  # the root of 4 / 3
    1.1547
    """
    problem = _posed(x, mixture, sample_weight)
    _statistics(problem)  # raises for bad rows
    errors, definite = _standard_errors(of or _itself, padded(problem).rows, problem.mixture)
    if is_concrete(definite) and not bool(definite):
        raise ValueError(
            "the observed information at this mixture is not positive definite, so there are no "
            "standard errors; give a mixture that maximises the likelihood of these rows, with no "
            "more components than they tell apart (estep_xp.fit with variance_floor=0, tol=1e-10)"
        )
    return errors


def _itself(mixture: Mixture) -> Mixture:
    return mixture


@functools.partial(jax.jit, static_argnums=0)
def _standard_errors(
    of: Callable[[Mixture], Any], rows: tuple[Array, ...], mixture: Mixture
) -> tuple[Any, Array]:
    information = _information(rows, mixture)
    vector, mixture_of = _free(mixture)
    # In units in which its diagonal is 1: parameters may differ in theirs by many powers of ten.
    scale = 1.0 / jnp.sqrt(jnp.diagonal(information))
    lower = jnp.linalg.cholesky(information * scale[:, None] * scale[None, :])
    noise = vector.size * _eps(vector)
    definite = jnp.all(jnp.diagonal(lower) ** 2 > noise)  # not so for NaN
    lower = jnp.where(definite, lower, math.nan)
    identity = jnp.eye(vector.size, dtype=vector.dtype)
    # The inverse is rootsᵀ roots.
    roots = solve_triangular(lower, identity, lower=True) * scale[None, :]

    def along(root: Array) -> Any:
        return jax.jvp(lambda vector: of(mixture_of(vector)), (vector,), (root,))[1]

    def length(columns: Array) -> Array:
        return jnp.sqrt(jnp.sum(columns * columns, axis=0))

    return jax.tree.map(length, jax.vmap(along)(roots)), definite


def _free(mixture: Mixture) -> tuple[Array, Callable[[Array], Mixture]]:
    """The free parameters of a mixture as a vector, and the way back."""
    weights = mixture.weights
    components: Any = mixture.components
    family = type(components)
    means, second = components
    upper = np.triu_indices(second.shape[-1]) if _is_factor(components) else ()
    places = (..., *upper)
    shares = weights / jnp.sum(weights)
    vector, unravel = ravel_pytree((shares[:-1], means, second[places]))

    def mixture_of(vector: Array) -> Mixture:
        shares, means, entries = unravel(vector)
        last = 1.0 - jnp.sum(shares)
        whole = jnp.zeros_like(second).at[places].set(entries)
        return Mixture(jnp.append(shares, last), family(means, whole))

    return vector, mixture_of


def _is_factor(components: Any) -> bool:
    return hasattr(components, "precision_cholesky")


# EM as a function


def em_step(
    mixture: Mixture,
    x: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    variance_floor: float | None = None,
) -> Mixture:
    """One iteration of EM, an E-step and an M-step: the map whose fixed points fits are.

    Parameters
    ----------
    mixture : Mixture
        Of one of the package's families.
    x : array, shape (n, d)
        Observations, one a row; shape (n,) for univariate components.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row.
    variance_floor : float, optional
        Added to the variances, see `estep_xp.m_step`. The default follows from the rows, and has
        derivatives by them.

    Returns
    -------
    Mixture
        Of no lower likelihood.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> new = ex.jax.em_step(mixture, [1.0, 2.5, 7.0, 5.0])
    >>> print("{:.4f} {:.4f}".format(*new.components.means))
    1.7746 5.9816
    """
    problem = _posed(x, mixture, sample_weight)
    return m_step(_statistics(problem), variance_floor=variance_floor)


def _statistics(problem: Problem) -> Statistics:
    x, *weight = problem.rows
    return expected_statistics(x, problem.mixture, sample_weight=weight[0] if weight else None)


@summarized
class ImplicitFit(NamedTuple):
    """A fit whose mixture can be differentiated, and whether it is to be believed.

    Parameters
    ----------
    mixture : Mixture
        The fitted mixture.
    log_likelihood : array, shape ()
        Total log-likelihood of the (weighted) rows under it, in nats.
    n_iter : array, shape ()
        Number of iterations.
    converged : array, shape ()
        Whether the log-likelihood stood still before ``max_iter`` was reached.
    residual : array, shape ()
        How far one more step of EM would go: the largest change of a weight, of a mean in
        deviations, of a variance or an entry of a factor in proportion.
    at_fixed_point : array, shape ()
        Whether that is as good as nothing: less than the cube root of eps.
    regular : array, shape ()
        Whether the equations have one solution. They have none, for instance, where components
        coincide, or one of them has lost its rows. Derivatives are NaN then.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> x = [1.0, 1.4, 1.8, 6.2, 6.6, 7.0]
    >>> result = ex.jax.fit(x, ex.initialize(x, 2, ex.UnivariateGaussian, seed=0))
    >>> bool(result.at_fixed_point), bool(result.regular)
    (True, True)
    """

    mixture: Mixture
    log_likelihood: Array
    n_iter: Array
    converged: Array
    residual: Array
    at_fixed_point: Array
    regular: Array

    def _shown_fields(self) -> dict[str, Any]:
        mixture, *others = self
        return dict(zip(self._fields[1:], others, strict=True)) | {"mixture": mixture}


def fit(
    x: ArrayLike,
    mixture: Mixture,
    *,
    sample_weight: ArrayLike | None = None,
    tol: float | None = None,
    max_iter: int = 10_000,
    variance_floor: float | None = None,
    accelerate: bool = False,
) -> ImplicitFit:
    """Fit a mixture by EM, with derivatives of the solution instead of the iterations.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one a row; shape (n,) for univariate components. At least one.
    mixture : Mixture
        Where to start; of one of the package's families. The solution does not depend on it.
    sample_weight : array, shape (n,), optional
        Non-negative weight of each row.
    tol : float, optional
        As for `estep_xp.fit`; by default eps to the power of 0.8, 3e-13 in double precision:
        derivatives need a fixed point more exactly than fits do.
    max_iter, variance_floor, accelerate
        As for `estep_xp.fit`.

    Returns
    -------
    ImplicitFit
        ``mixture`` and ``log_likelihood`` have derivatives by `x`, `sample_weight` and
        `variance_floor`, in both modes. The other fields tell whether they may be used.

    Raises
    ------
    ValueError, TypeError
        If an argument has a wrong shape, dtype or value; the message names it.

    Notes
    -----
    A fit solves θ = M(θ, x), with M one step of EM. By the implicit function theorem dθ is the
    solution of (1 − ∂M/∂θ) dθ = ∂M/∂x dx: one linear system, solved by GMRES with derivatives of M
    along directions, in memory that does not depend on the number of iterations. A derivative whose
    equations could not be solved is NaN.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> x = jnp.asarray([1.0, 1.4, 1.8, 6.2, 6.6, 7.0])
    >>> start = ex.initialize(x, 2, ex.UnivariateGaussian, seed=0)
    >>> def lower_mean(x):
    ...     return ex.jax.fit(x, start).mixture.components.means.min()
    >>> gradient = jax.grad(lower_mean)(x)  # of the mean of three rows
    >>> print(*(f"{slope:.3f}" for slope in abs(gradient)))
    0.333 0.333 0.333 0.000 0.000 0.000
    """
    problem = _posed(x, mixture, sample_weight)
    tol = _eps(problem.rows[0]) ** 0.8 if tol is None else check_number("tol", tol)
    floor = check_floor(variance_floor)
    max_iter = check_whole("max_iter", max_iter, 1)
    settings = _Settings(max_iter, bool(accelerate))
    rows = padded(problem).rows
    result: ImplicitFit = _fit(settings, rows, problem.mixture, tol, floor)
    if is_concrete(result.log_likelihood) and not math.isfinite(result.log_likelihood):
        _explain(problem, tol, settings, floor)
    return result


class _Settings(NamedTuple):
    max_iter: int
    accelerate: bool


@functools.partial(jax.jit, static_argnums=0)
def _fit(
    settings: _Settings, rows: tuple[Array, ...], start: Mixture, tol: Any, floor: Any
) -> ImplicitFit:
    x, *weights = rows
    weight = weights[0] if weights else None
    still = jax.lax.stop_gradient((x, start, weight, tol, floor))
    found = em_fit.fit(
        still[0],
        still[1],
        sample_weight=still[2],
        tol=still[3],
        variance_floor=still[4],
        max_iter=settings.max_iter,
        accelerate=settings.accelerate,
    )
    scales = jax.lax.stop_gradient(_scales(found.mixture))

    def step(scaled: Mixture) -> Mixture:
        """The change that one step of EM makes, every number in units of its own."""
        old = jax.tree.map(jnp.multiply, scaled, scales)
        new = em_step(old, x, sample_weight=weight, variance_floor=floor)
        change: Mixture = jax.tree.map(lambda a, b, scale: (a - b) / scale, new, old, scales)
        return change

    guess = jax.tree.map(jnp.divide, found.mixture, scales)
    root = jax.lax.custom_root(step, guess, lambda _, guess: guess, _solved)
    mixture: Mixture = jax.tree.map(jnp.multiply, root, scales)
    residual, regular = jax.lax.stop_gradient(_looked_at(step, guess))
    return ImplicitFit(
        mixture,
        log_likelihood(x, mixture, sample_weight=weight),
        found.n_iter,
        found.converged,
        residual,
        residual < _eps(x) ** (1 / 3),
        regular,
    )


def _scales(mixture: Mixture) -> Mixture:
    """How large the numbers of a mixture are: of means, the deviations."""
    components: Any = mixture.components
    second = components[1]
    deviations = 1.0 / components._scales(jnp)
    if _is_factor(components):
        rows = jnp.diagonal(second, axis1=-2, axis2=-1)[..., :, None]
        second = jnp.broadcast_to(rows, second.shape)
    return Mixture(jnp.ones_like(mixture.weights), type(components)(deviations, second))


def _solved(linear: Callable[[Any], Any], right: Any) -> Any:
    """The solution of linear equations, which is linear in their right side."""
    # As one vector: JAX 0.5 cannot transpose a solution of which a part is not used.
    vector, unravel = ravel_pytree(right)

    def of_vector(vector: Array) -> Array:
        return ravel_pytree(linear(unravel(vector)))[0]

    return unravel(
        jax.lax.custom_linear_solve(of_vector, vector, _solution, transpose_solve=_solution)
    )


def _solution(linear: Callable[[Any], Any], right: Any) -> Any:
    """The solution of linear equations; NaN where there is none, or many."""
    solution, solved = _solve(linear, right)
    return jax.tree.map(lambda a: jnp.where(solved, a, math.nan), solution)


def _solve(linear: Callable[[Any], Any], right: Any) -> tuple[Any, Array]:
    vector, _ = ravel_pytree(right)
    eps = _eps(vector)
    exact = eps**0.75
    gmres: Any = jax.scipy.sparse.linalg.gmres
    restart = min(vector.size, _KRYLOV)
    solution, _ = gmres(linear, right, tol=exact, atol=0.0, restart=restart, maxiter=_RESTARTS)
    missing = jax.tree.map(jnp.subtract, linear(solution), right)
    small = _norm(missing) <= 10.0 * exact * _norm(right)
    # Numbers that hardly depend on what they are computed from.
    moderate = _norm(solution) <= _norm(right) / math.sqrt(eps)
    return solution, small & moderate


def _eps(array: Array) -> float:
    return float(np.finfo(array.dtype).eps)


def _norm(tree: Any) -> Array:
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def _looked_at(step: Callable[[Mixture], Mixture], scaled: Mixture) -> tuple[Array, Array]:
    """How far a step goes from there, and whether equations with its derivative can be solved."""
    change, linear = jax.linearize(step, scaled)
    vector, unravel = ravel_pytree(change)
    probe = np.random.default_rng(0).standard_normal(vector.size)
    _, regular = _solve(linear, unravel(jnp.asarray(probe, vector.dtype)))
    return jnp.max(jnp.abs(vector)), regular


def _explain(problem: Problem, tol: Any, settings: _Settings, floor: Any) -> None:
    """Raise for what made a fit fail, which is named where iterations are looked at one by one."""
    x, *weight = problem.rows
    options = em_fit.Options(
        tol=tol,
        variance_floor=floor,
        max_iter=settings.max_iter,
        accelerate=settings.accelerate,
    )
    em_fit.fitted(x, problem.mixture, weight[0] if weight else None, options)


# Parameters without bounds


@summarized
class Unconstrained(NamedTuple):
    """A mixture's parameters as numbers that may take any value, for optimisers.

    Parameters
    ----------
    logits : array, shape (k,)
        Log mixing weights, up to a constant.
    components : Components
        The family, with log-variances in place of variances, and factors with the logarithms of
        their diagonals.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([0.25, 0.75], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> free = ex.jax.unconstrain(mixture)
    >>> print("{:.4f} {:.4f}".format(*free.components.variances))
    0.0000 0.4055
    """

    logits: Array
    components: Any

    def _shown_fields(self) -> dict[str, Any]:
        return sizes("k", "logits", self.logits) | {"components": self.components}


def unconstrain(mixture: Mixture) -> Unconstrained:
    """Numbers that may take any value, from which `constrain` makes the mixture again.

    Parameters
    ----------
    mixture : Mixture
        Of one of the package's families.

    Returns
    -------
    Unconstrained
        Logits of weights, means, and log-variances or factors with logarithmic diagonals. A weight
        of zero has the logit −inf, and keeps it.

    Raises
    ------
    ValueError, TypeError
        If an array has a wrong shape, dtype or value; the message names it.

    Examples
    --------
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> mixture = ex.Mixture([0.25, 0.75], ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]))
    >>> again = ex.jax.constrain(ex.jax.unconstrain(mixture))
    >>> print("{:.4f} {:.4f}".format(*again.weights))
    0.2500 0.7500
    """
    weights, components = _checked(mixture)
    free = type(components)(*components._free(jnp))
    return Unconstrained(jnp.log(weights) - jnp.log(jnp.sum(weights)), free)


def constrain(parameters: Unconstrained) -> Mixture:
    """The mixture that unconstrained parameters stand for.

    Parameters
    ----------
    parameters : Unconstrained
        From `unconstrain`, or changed by an optimiser since.

    Returns
    -------
    Mixture
        Weights sum to 1.

    Raises
    ------
    TypeError
        If `parameters` are of another kind.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import estep_xp as ex
    >>> import estep_xp.jax
    >>> free = ex.jax.Unconstrained(
    ...     jnp.zeros(2), ex.UnivariateGaussian(jnp.asarray([2.0, 6.0]), jnp.zeros(2))
    ... )
    >>> print(*ex.jax.constrain(free).components.variances)
    1.0 1.0
    """
    if not isinstance(parameters, Unconstrained):
        raise TypeError(
            f"parameters is a {type(parameters).__name__}; expected an estep_xp.jax.Unconstrained"
        )
    logits, components = parameters
    family: Any = type(contract.estimable(components))
    logits = jnp.asarray(logits)
    check_shape("logits", logits, ("k",))
    free = tuple(map(jnp.asarray, components))
    return Mixture(jax.nn.softmax(logits), family._from_free(jnp, *free))


# Arguments


def _posed(x: Any, mixture: Any, sample_weight: Any = None) -> Problem:
    """Pose a call on JAX arrays; those of NumPy become such."""
    check_mixture(mixture, x)
    mixture = Mixture(_in_jax(mixture.weights), _with_arrays_in_jax(mixture.components))
    problem = pose(_in_jax(x), mixture, sample_weight=_in_jax(sample_weight))
    if problem.space.library == "jax":
        return problem
    # Nothing but lists and numbers.
    weights = problem.mixture.weights
    components: Any = problem.mixture.components
    mixture = Mixture(jnp.asarray(weights), type(components)(*map(jnp.asarray, components)))
    rows = [jnp.asarray(array) for array in problem.rows]
    return pose(rows[0], mixture, sample_weight=rows[1] if len(rows) == 2 else None)


def _checked(mixture: Any) -> tuple[Array, Any]:
    """Weights and components, of one of the package's families on JAX arrays, checked."""
    check_mixture(mixture)
    components: Any = contract.estimable(mixture.components)
    shape: tuple[Any, ...] = np.shape(components.means)[1:]
    return _posed(np.zeros((0, *shape)), mixture).mixture


@quiet  # casts to single precision
def _in_jax(value: Any) -> Any:
    return jnp.asarray(value) if isinstance(value, np.ndarray) else value


def _with_arrays_in_jax(components: Any) -> Any:
    if not hasattr(components, "_fields"):
        return components
    return type(components)(*map(_in_jax, components))
