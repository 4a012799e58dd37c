"""EM as a function: one step, and a fit that is differentiated at its fixed point."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from estep_xp.arrays.array_types import ComponentsT
from estep_xp.arrays.namespace import is_concrete
from estep_xp.arrays.record_repr import summarized
from estep_xp.arrays.validation import check_number, check_whole
from estep_xp.em import fit as em_fit
from estep_xp.em.m_step import check_floor, m_step
from estep_xp.families.contract import family_of
from estep_xp.mixture.call import Call, pad_call
from estep_xp.mixture.estep import log_likelihood
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray
    from estep_xp.arrays.shapes import BoolScalar, FloatScalar, IntScalar, LikeN, RowsLike
from estep_xp.jax.arguments import eps_of, prepare_jax_call, run_statistics

# Steps of the linear solver between restarts, and restarts.
_KRYLOV, _RESTARTS = 64, 16


def em_step(
    mixture: Mixture[ComponentsT],
    x: RowsLike,
    *,
    sample_weight: LikeN | None = None,
    variance_floor: float | None = None,
) -> Mixture[ComponentsT]:
    """One iteration of EM, an E-step and an M-step: the map whose fixed points fits are.

    Parameters
    ----------
    mixture : Mixture
        Of one of the package's families.
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components.
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
    call = prepare_jax_call(x, mixture, sample_weight)
    return m_step(run_statistics(call), variance_floor=variance_floor)


@summarized
class ImplicitFit(NamedTuple, Generic[ComponentsT]):
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

    mixture: Mixture[ComponentsT]
    log_likelihood: FloatScalar
    n_iter: IntScalar
    converged: BoolScalar
    residual: FloatScalar
    at_fixed_point: BoolScalar
    regular: BoolScalar

    def _shown_fields(self) -> dict[str, Any]:
        mixture, *others = self
        return dict(zip(self._fields[1:], others, strict=True)) | {"mixture": mixture}


def fit(
    x: RowsLike,
    mixture: Mixture[ComponentsT],
    *,
    sample_weight: LikeN | None = None,
    tol: float | None = None,
    max_iter: int = 10_000,
    variance_floor: float | None = None,
    accelerate: bool = False,
) -> ImplicitFit[ComponentsT]:
    """Fit a mixture by EM, with derivatives of the solution instead of the iterations.

    Parameters
    ----------
    x : array, shape (n, d)
        Observations, one per row; shape (n,) for univariate components. At least one.
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
    call = prepare_jax_call(x, mixture, sample_weight)
    tol = eps_of(call.rows[0]) ** 0.8 if tol is None else check_number("tol", tol)
    floor = check_floor(variance_floor)
    max_iter = check_whole("max_iter", max_iter, 1)
    settings = _Settings(max_iter, bool(accelerate))
    rows = pad_call(call).rows
    result: ImplicitFit[ComponentsT] = _fit(settings, rows, call.mixture, tol, floor)
    if is_concrete(result.log_likelihood) and not math.isfinite(result.log_likelihood):
        _raise_for_failed_fit(call, tol, settings, floor)
    return result


class _Settings(NamedTuple):
    max_iter: int
    accelerate: bool


@functools.partial(jax.jit, static_argnums=0)
def _fit(
    settings: _Settings, rows: tuple[AnyArray, ...], start: Mixture, tol: Any, floor: Any
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
    scales = jax.lax.stop_gradient(_parameter_units(found.mixture))

    def step(scaled: Mixture) -> Mixture:
        """The change that one step of EM makes, every number in units of its own."""
        old = jax.tree.map(jnp.multiply, scaled, scales)
        new = em_step(old, x, sample_weight=weight, variance_floor=floor)
        change: Mixture = jax.tree.map(lambda a, b, scale: (a - b) / scale, new, old, scales)
        return change

    guess = jax.tree.map(jnp.divide, found.mixture, scales)
    root = jax.lax.custom_root(step, guess, lambda _, guess: guess, _solve_linear)
    mixture: Mixture = jax.tree.map(jnp.multiply, root, scales)
    residual, regular = jax.lax.stop_gradient(_diagnose(step, guess))
    return ImplicitFit(
        mixture,
        log_likelihood(x, mixture, sample_weight=weight),
        found.n_iter,
        found.converged,
        residual,
        residual < eps_of(x) ** (1 / 3),
        regular,
    )


def _parameter_units(mixture: Mixture) -> Mixture:
    """The size of each number of a mixture: of means, the deviations."""
    components: Any = mixture.components
    units = family_of(components)._parameter_units(jnp)
    return Mixture(
        jnp.ones_like(mixture.weights), jax.tree.unflatten(jax.tree.structure(components), units)
    )


def _solve_linear(linear: Callable[[Any], Any], right: Any) -> Any:
    """The solution of linear equations, which is linear in their right side."""
    # As one vector: JAX 0.5 cannot transpose a solution of which a part is not used.
    vector, unravel = ravel_pytree(right)

    def of_vector(vector: AnyArray) -> AnyArray:
        return ravel_pytree(linear(unravel(vector)))[0]

    return unravel(
        jax.lax.custom_linear_solve(of_vector, vector, _solve_or_nan, transpose_solve=_solve_or_nan)
    )


def _solve_or_nan(linear: Callable[[Any], Any], right: Any) -> Any:
    """The solution of linear equations; NaN where there is none, or many."""
    solution, solved = _solve_and_check(linear, right)
    return jax.tree.map(lambda a: jnp.where(solved, a, math.nan), solution)


def _solve_and_check(linear: Callable[[Any], Any], right: Any) -> tuple[Any, AnyArray]:
    """A solution by GMRES, and whether it is one, and not too large to depend on `right`."""
    vector, _ = ravel_pytree(right)
    eps = eps_of(vector)
    exact = eps**0.75
    gmres: Any = jax.scipy.sparse.linalg.gmres
    restart = min(vector.size, _KRYLOV)
    solution, _ = gmres(linear, right, tol=exact, atol=0.0, restart=restart, maxiter=_RESTARTS)
    missing = jax.tree.map(jnp.subtract, linear(solution), right)
    small = _norm(missing) <= 10.0 * exact * _norm(right)
    # Numbers that hardly depend on what they are computed from.
    moderate = _norm(solution) <= _norm(right) / math.sqrt(eps)
    return solution, small & moderate


def _norm(tree: Any) -> AnyArray:
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def _diagnose(step: Callable[[Mixture], Mixture], scaled: Mixture) -> tuple[AnyArray, AnyArray]:
    """How far a step goes from there, and whether equations with its derivative can be solved."""
    change, linear = jax.linearize(step, scaled)
    vector, unravel = ravel_pytree(change)
    probe = np.random.default_rng(0).standard_normal(vector.size)
    _, regular = _solve_and_check(linear, unravel(jnp.asarray(probe, vector.dtype)))
    return jnp.max(jnp.abs(vector)), regular


def _raise_for_failed_fit(call: Call, tol: Any, settings: _Settings, floor: Any) -> None:
    """Run a failed fit again, each iteration checked, so that it raises and names the reason."""
    x, *weight = call.rows
    options = em_fit.Options(
        tol=tol,
        variance_floor=floor,
        max_iter=settings.max_iter,
        accelerate=settings.accelerate,
    )
    em_fit.run_fit(x, call.mixture, weight[0] if weight else None, options)
