"""Factor analysers: Gaussians whose features depend on each other through a few factors."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from estep_xp import execution
from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components, expand_like
from estep_xp.arrays.namespace import Space, space_of, to_host
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.arrays.validation import (
    check_finite,
    check_positive,
    check_shape,
    raise_bad_value,
)
from estep_xp.families.family import Evaluated
from estep_xp.families.gaussian.factors_with_holes import FactorsWithHoles
from estep_xp.families.gaussian.low_rank import (
    LowRankForm,
    factorize_low_rank,
    low_rank_form,
    low_rank_moments,
    low_rank_norms,
)
from estep_xp.families.gaussian.moments import by_feature, default_floor, shared_covariances
from estep_xp.families.gaussian.parameters import check_means
from estep_xp.families.gaussian.residual import log_density
from estep_xp.families.gaussian.some_features import choose
from estep_xp.families.limits import Limit, at_least_zero, at_most_by_squares
from estep_xp.families.log_prob import log_prob

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import (
        FloatKD,
        FloatKDD,
        FloatKDQ,
        FloatKQ,
        FloatKQQ,
        FloatNK,
        RealKD,
        RealKDQ,
        RowsLike,
    )

_LEAST_NOISE = 0.05  # of a variance, that a start leaves to the noise


@summarized
class FactorStatistics(NamedTuple):
    """Sums over rows by responsibilities, of what the current factors explain and leave.

    Parameters
    ----------
    rest : array, shape (k, d)
        Σ_i r_ik e_ik, with e the residual x − μ − ΛE over the noise's deviations, and E the
        posterior mean of the factors.
    squares : array, shape (k, d)
        Σ_i r_ik e_ik².
    factors : array, shape (k, q)
        Σ_i r_ik E_ik.
    cross : array, shape (k, d, q)
        Σ_i r_ik e_ik E_ikᵀ.
    factor_products : array, shape (k, q, q)
        Σ_i r_ik E_ik E_ikᵀ.
    """

    rest: FloatKD
    squares: FloatKD
    factors: FloatKQ
    cross: FloatKDQ
    factor_products: FloatKQQ

    def _shown_fields(self) -> dict[str, Any]:
        return self._asdict()


class _Fields(NamedTuple):
    means: RealKD
    loadings: RealKDQ
    noise_variances: RealKD


@summarized
class FactorAnalyzer(FactorsWithHoles, _Fields):
    """Gaussian components with covariance ΛΛᵀ + Ψ: q factors, and noise of each feature.

    Parameters
    ----------
    means : array, shape (k, d)
        Mean of each component.
    loadings : array, shape (k, d, q)
        Λ: how the features depend on the factors, which are standard normal.
    noise_variances : array, shape (k, d)
        The diagonal of Ψ, positive.

    Notes
    -----
    Time and memory are linear in d. A start (`initialize`, `select`) takes components of the wished
    shapes as a template: their q counts, not their numbers. An M-step maximises over means and
    loadings jointly, then over the noise (Ghahramani and Hinton 1996); `variance_floor` is added to
    the noise.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.FactorAnalyzer([[0.0, 0.0]], [[[2.0], [1.0]]], [[1.0, 1.0]])
    >>> components.log_prob([[0.0, 0.0], [4.0, 2.0]]).round(4)
    array([[-2.7338],
           [-4.4004]])
    """

    __slots__ = ()

    _record = FactorStatistics
    _needs_template = True
    _is_unconstrainable = True
    _has_marginals = True

    @property
    def covariances(self) -> FloatKDD:
        """Covariance matrices of the components, shape (k, d, d)."""
        space = space_of(self._parameters())
        return execution.driver_for(space).compute(_covariances, space, *self._checked(space)[1:])

    def log_prob(self, x: RowsLike) -> FloatNK:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n, d)
            Observations.

        Returns
        -------
        array, shape (n, k)
            log N(x_i | μ_k, Λ_k Λ_kᵀ + Ψ_k), in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.FactorAnalyzer([[0.0]], [[[1.0]]], [[3.0]]).log_prob([[2.0]]).round(4)
        array([[-2.1121]])
        """
        return log_prob(self, x)

    def _shown_fields(self) -> dict[str, Any]:
        return parameters("kd", self._asdict())

    def _checked(self, space: Space) -> Self:
        means = check_means(space, self.means, ("k", "d"))
        k, d = means.shape
        loadings = space.parameter("loadings", self.loadings)
        check_shape("loadings", loadings, (k, d, "q"), ", to match means")
        if loadings.shape[2] == 0:
            raise ValueError("loadings has no factors; expected at least one: shape (k, d, q)")
        noise = space.parameter("noise_variances", self.noise_variances)
        check_shape("noise_variances", noise, (k, d), ", to match means")
        noise = check_positive(space, "noise_variances", noise)
        return type(self)(means, check_finite(space, "loadings", loadings), noise)

    def _n_components(self) -> int:
        return int(self.means.shape[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n", *self.means.shape[1:])

    def _n_parameters(self) -> int:
        k, d, q = self.loadings.shape
        # Rotations of the factors change nothing; and no more than a full covariance has.
        return int(k * (d + min(d + d * q - q * (q - 1) // 2, d * (d + 1) // 2)))

    # --- a block of rows -------------------------------------------------------------------------

    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> LowRankForm:
        return low_rank_form(ops, self.means, self.loadings, self.noise_variances, log_weights)

    def _width(self, ops: BlockOps) -> int:
        k, d, q = self.loadings.shape
        return int((k if ops.decides_per_block else 3) * d + q)

    def _evaluate(self, ops: BlockOps, prepared: LowRankForm, x: Array) -> Evaluated:
        squared = low_rank_norms(ops, prepared, x)
        constants = expand_components(prepared.log_normalizers, ops.axis)
        return Evaluated(x, log_density(ops, squared, constants))

    def _moments_block(
        self, ops: BlockOps, prepared: LowRankForm, block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        return low_rank_moments(ops, prepared, block.x, responsibilities)

    # --- estimation ------------------------------------------------------------------------------

    def _shapes_of_sums(self) -> tuple[tuple[int, ...], ...]:
        k, d, q = self.loadings.shape
        return (k, d), (k, d), (k, q), (k, d, q), (k, q, q)

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        rest, squares, factors, cross, products = moments
        own = xp.linalg.diagonal(products)
        n, both = counts[:, None], 0.0 * cross
        pairs = squares[:, :, None] + both, xp.where(own > 0, own, 0.0)[:, None, :] + both
        at_most = functools.partial(at_most_by_squares, xp)
        return (
            at_least_zero("squares", squares),
            at_least_zero("factor_products", own),
            at_most("rest", rest, squares, n + 0.0 * rest, "count · squares"),
            at_most("factors", factors, own, n + 0.0 * own, "count · factor_products"),
            at_most("cross", cross, *pairs, "squares · factor_products"),
        )

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: FactorStatistics, floor: Any
    ) -> Self:
        n = counts[:, None]
        deviations = xp.sqrt(self.noise_variances)
        scaled = self.loadings / deviations[:, :, None]
        lower = factorize_low_rank(xp, self.loadings, self.noise_variances).lower
        posterior = xp.matmul(lower, xp.matrix_transpose(lower))
        # e − (change of Λ) f − (change of μ) is to be small, over factors f ~ N(E, Q₂ Q₂ᵀ).
        rest, factors = moments.rest / n, moments.factors / n
        spread = moments.factor_products / n[:, :, None] - linalg.outer(factors) + posterior
        cross = moments.cross / n[:, :, None] - rest[:, :, None] * factors[:, None, :]
        cross = cross - xp.matmul(scaled, posterior)
        root = linalg.precision_cholesky(xp, spread)
        half = xp.matmul(cross, root)
        change = xp.matmul(half, xp.matrix_transpose(root))
        shift = rest - xp.matmul(change, factors[:, :, None])[:, :, 0]
        within = xp.matmul(scaled, lower)
        before = moments.squares / n + xp.sum(within * within, axis=2)
        noise = before - rest * rest - xp.sum(half * half, axis=2)
        # What rounding leaves, at least: it may be negative.
        least = 4.0 * float(xp.finfo(noise.dtype).eps) * before
        noise = xp.where(noise < least, least, noise) * self.noise_variances
        if floor is None:
            floor = self._floor(xp, counts, empty, moments)
        new = type(self)(
            self.means + shift * deviations,
            self.loadings + change * deviations[:, :, None],
            noise + by_feature(floor, noise),
        )
        pairs = zip(self, new, strict=True)
        return type(self)(*(xp.where(expand_like(empty, a), a, b) for a, b in pairs))

    def _floor(
        self, xp: Namespace, counts: Array, empty: Array, moments: FactorStatistics
    ) -> Array:
        shift, squares = self._about_means(xp, counts, moments)
        variances = squares - shift * shift
        variances = xp.where(variances > 0, variances, 0.0)
        return default_floor(xp, counts, empty, self.means + shift, variances)

    def _about_means(
        self, xp: Namespace, counts: Array, moments: FactorStatistics
    ) -> tuple[Array, Array]:
        """Means (k, d) of x − μ and of its squares."""
        n, deviations = counts[:, None], xp.sqrt(self.noise_variances)
        rest, squares, factors, cross, products = moments
        mean = rest * deviations + xp.matmul(self.loadings, factors[:, :, None])[:, :, 0]
        explained = xp.sum(self.loadings * xp.matmul(self.loadings, products), axis=2)
        mixed = 2.0 * deviations * xp.sum(self.loadings * cross, axis=2)
        return mean / n, (squares * self.noise_variances + mixed + explained) / n

    def _move(self, xp: Namespace, counts: Array, empty: Array, moments: FactorStatistics) -> Self:
        shift, _ = self._about_means(xp, counts, moments)
        return self._replace(means=self.means + xp.where(empty[:, None], 0.0, shift))

    def _is_usable(self) -> bool:
        noise: Any = self.noise_variances
        good = (noise > 0) & (quietly(np.reciprocal, noise) < np.inf)
        return bool(good.all()) and super()._is_usable()

    def _raise_if_degenerate(
        self, space: Space, counts: Array, empty: Array, moments: FactorStatistics, floor: Any
    ) -> None:
        super()._raise_if_degenerate(space, counts, empty, moments, floor)
        noise = to_host(self._maximize(space.xp, counts, empty, moments, floor).noise_variances)
        bad = np.argwhere(~(noise > 0))
        if len(bad):
            index = tuple(bad[0].tolist())
            expected = "noise_variances must be positive: give a variance_floor"
            raise_bad_value("noise_variances", index, noise[index], expected)

    def _floor_shares(self, xp: Namespace, floor: Array) -> tuple[Array, Array]:
        variances = self.noise_variances + xp.sum(self.loadings * self.loadings, axis=2)
        upper = factorize_low_rank(xp, self.loadings, self.noise_variances).upper
        scales = xp.sqrt((0.0 * variances + floor) / self.noise_variances)
        # C⁻¹ is Ψ^(−½) (I − Q₁ Q₁ᵀ) Ψ^(−½).
        identity = linalg.diagonal_matrix(xp, xp.ones_like(scales))
        inner = identity - xp.matmul(upper, xp.matrix_transpose(upper))
        largest = xp.linalg.matrix_norm(linalg.outer(scales) * inner, ord=2)
        return largest, floor / variances

    # --- other uses of a distribution ------------------------------------------------------------

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        n, (_, d, q) = labels.shape[0], self.loadings.shape
        factors, noise = random.normal((n, q)), random.normal((n, d))
        means = xp.take(self.means, labels, axis=0)
        means = means + noise * xp.take(xp.sqrt(self.noise_variances), labels, axis=0)
        # One factor after the other: loadings for each row would not fit in memory.
        steps = (
            factors[:, j, None] * xp.take(self.loadings[:, :, j], labels, axis=0) for j in range(q)
        )
        return functools.reduce(lambda total, step: total + step, steps, means)

    def _marginal(self, xp: Namespace, features: tuple[int, ...]) -> Self:
        return type(self)(*(choose(xp, array, features, 1) for array in self))

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Self:
        given, rest = self._marginal(xp, known), self._marginal(xp, others)
        factors = factorize_low_rank(xp, given.loadings, given.noise_variances)
        z = (values - given.means) / xp.sqrt(given.noise_variances)
        y = xp.matmul(z[:, None, :], factors.upper)
        loadings = xp.matmul(rest.loadings, factors.lower)
        shift = xp.matmul(loadings, xp.matrix_transpose(y))[:, :, 0]
        return type(self)(rest.means + shift, loadings, rest.noise_variances)

    # --- starts and free parameters --------------------------------------------------------------

    def _starts_any_number(self) -> bool:
        return True

    def _start_like(self, xp: Namespace, x: Array, responsibilities: Array) -> Self:
        q = self.loadings.shape[2]
        means, covariances = shared_covariances(xp, x, responsibilities)
        correlations, scales = linalg.correlations(xp, covariances)
        values, vectors = xp.linalg.eigh(correlations)
        # The largest principal components of correlations, above the average of the others.
        d = means.shape[1]
        own = min(q, d)
        left = xp.sum(values[:, : d - own], axis=1) / float(max(1, d - own))
        excess = values[:, d - own :] - left[:, None]
        excess = xp.sqrt(xp.where(excess > 0, excess, 0.0))
        loadings = vectors[:, :, d - own :] * excess[:, None, :]
        noise = 1.0 - xp.sum(loadings * loadings, axis=2)
        noise = xp.where(noise < _LEAST_NOISE, _LEAST_NOISE, noise)
        if own < q:
            zeros = [xp.zeros_like(loadings[:, :, :1])] * (q - own)
            loadings = xp.concat([loadings, *zeros], axis=2)
        return type(self)(means, loadings / scales[:, :, None], noise / (scales * scales))

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return self.means, self.loadings, xp.log(self.noise_variances)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        means, loadings, log_noise = free
        return type(self)(means, loadings, xp.exp(log_noise))

    def _step_scales(self, xp: Namespace) -> tuple[Any, ...]:
        scales = 1.0 / self._deviations(xp)
        return scales, scales[:, :, None], 1.0

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        deviations = self._deviations(xp)
        units = xp.broadcast_to(deviations[:, :, None], self.loadings.shape)
        return deviations, units, self.noise_variances

    def _deviations(self, xp: Namespace) -> Array:
        explained = xp.sum(self.loadings * self.loadings, axis=2)
        deviations: Array = xp.sqrt(self.noise_variances + explained)
        return deviations

    def _stays_above(self, xp: Namespace, floor: Any) -> Array:
        return xp.all(self.noise_variances >= by_feature(floor, self.noise_variances))


def _covariances(xp: Namespace, loadings: Array, noise: Array) -> Array:
    explained = xp.matmul(loadings, xp.matrix_transpose(loadings))
    symmetric = 0.5 * explained + 0.5 * xp.matrix_transpose(explained)
    return symmetric + linalg.diagonal_matrix(xp, noise)
