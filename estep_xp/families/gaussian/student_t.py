"""Student-t components: Gaussians whose rows each have a scale of their own, so tails are heavy.

t(x | μ, Σ, ν) is the mixture of N(μ, Σ / u) over u ~ Gamma(ν / 2, ν / 2). With q the squared length
of the standardised residual (x − μ) P, P Pᵀ = Σ⁻¹, the density is
log|P| − (d/2) log 2π + ρ − ½ (ν + d) log(1 + q / ν), ρ = log Γ((ν + d) / 2) − log Γ(ν / 2) −
(d/2) log(ν / 2), which tends to 0 as ν grows (Lange, Little and Taylor 1989).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import expand_components
from estep_xp.arrays.namespace import Space, is_concrete, space_of
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.arrays.special import (
    log_gamma_ratio,
    log_minus_digamma,
    solve_log_minus_digamma,
)
from estep_xp.arrays.validation import check_positive, check_shape
from estep_xp.families.family import Evaluated
from estep_xp.families.gaussian.moments import centred_products, products, shared_covariances
from estep_xp.families.gaussian.parameters import covariances_of, factorize
from estep_xp.families.gaussian.quadratic import PRODUCTS
from estep_xp.families.gaussian.residual import ResidualForm, moments_about, squared_norms
from estep_xp.families.gaussian.some_features import choose, marginal_factors
from estep_xp.families.gaussian.tails_with_holes import TailsWithHoles, log_tails, scale_moments
from estep_xp.families.limits import (
    Limit,
    at_least_about_zero,
    at_least_zero,
    at_most_by_squares,
    lost_squares,
    slack,
)
from estep_xp.families.log_prob import log_prob

if TYPE_CHECKING:
    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.random import Random
    from estep_xp.arrays.shapes import (
        FloatK,
        FloatKD,
        FloatKDD,
        FloatNK,
        LikeK,
        LikeKD,
        LikeKDD,
        RealFactors,
        RealK,
        RealKD,
        RowsLike,
    )

_DEGREES = 10.0  # to begin with


@summarized
class StudentTStatistics(NamedTuple):
    """Sums over rows, each by its responsibility r and its expected latent scale u.

    Parameters
    ----------
    weights : array, shape (k,)
        Σ_i r_ik u_ik, with u = (ν + d) / (ν + q).
    first : array, shape (k, d)
        Σ_i r_ik u_ik (x_i − μ_k).
    second : array, shape (k, d, d)
        Σ_i r_ik u_ik (x_i − μ_k)(x_i − μ_k)ᵀ.
    excess : array, shape (k,)
        Σ_i r_ik (u_ik − 1 − log u_ik), which tells the degrees of freedom.
    """

    weights: FloatK
    first: FloatKD
    second: FloatKDD
    excess: FloatK

    def _shown_fields(self) -> dict[str, Any]:
        return self._asdict()


class _Fields(NamedTuple):
    means: RealKD
    precision_cholesky: RealFactors
    degrees: RealK


class _Prepared(NamedTuple):
    residual: ResidualForm
    degrees: Array


class _Tails(NamedTuple):
    """Of a block, components by rows: q, and log(1 + q / ν)."""

    squared: Array
    logs: Array


class StudentT(TailsWithHoles, _Fields):
    """Student-t components: elliptical, with heavy tails, so that outliers weigh little.

    Parameters
    ----------
    means : array, shape (k, d)
        Centre of each component.
    precision_cholesky : array, shape (k, d, d)
        For each component the upper triangular P with the inverse of its scale matrix = P Pᵀ.
        `from_scales` computes it. The covariance is ν / (ν − 2) times the scale matrix if ν > 2.
    degrees : array, shape (k,)
        Degrees of freedom ν > 0; the larger, the nearer to a Gaussian.

    Notes
    -----
    EM takes the scale of each row as latent (Liu and Rubin 1995), so the log-likelihood never
    falls; it is not parameter-expanded. The default `variance_floor` is a millionth of the variance
    that all rows would have if the scale matrices were covariances: outliers do not widen it.

    Examples
    --------
    >>> import estep_xp as ex
    >>> components = ex.StudentT.from_scales([[0.0, 0.0]], [[[1.0, 0.0], [0.0, 4.0]]], [3.0])
    >>> components.log_prob([[0.0, 0.0], [50.0, 0.0]]).round(4)
    array([[ -2.531 ],
           [-19.3476]])
    """

    __slots__ = ()

    _record = StudentTStatistics
    _quadratic = PRODUCTS
    _factor_axes = ("k", "d", "d")
    _has_two_forms = False
    _has_expected_log_prob = False
    _starts_from_centres = False
    _takes_noise = False  # a row's latent scale is not that of its error
    _is_recenterable = False  # latent scales under other components are not known
    degrees: RealK

    @classmethod
    def from_scales(cls, means: LikeKD, scales: LikeKDD, degrees: LikeK) -> Self:
        """Components from their scale matrices, factorised here once.

        Parameters
        ----------
        means : array, shape (k, d)
            Centre of each component.
        scales : array, shape (k, d, d)
            Symmetric positive definite matrices.
        degrees : array, shape (k,)
            Degrees of freedom of each component.

        Returns
        -------
        StudentT
            The components.

        Raises
        ------
        ValueError, TypeError
            If a scale matrix is not finite, symmetric and positive definite, degrees are not
            positive, or a shape is wrong.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.StudentT.from_scales([[0.0]], [[[4.0]]], [5.0]).precision_cholesky
        array([[[0.5]]])
        """
        space = space_of({"means": means, "scales": scales, "degrees": degrees})
        given = space.parameter("means", means), space.parameter("scales", scales)
        means, factors = factorize(*given, "scales", ("k", "d", "d"))
        return cls(means, factors, _check_degrees(space, degrees, means.shape[0]))

    @property
    def scales(self) -> FloatKDD:
        """Scale matrices of the components, shape (k, d, d)."""
        return covariances_of(self.precision_cholesky, self._factor_axes)

    def log_prob(self, x: RowsLike) -> FloatNK:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n, d)
            Observations.

        Returns
        -------
        array, shape (n, k)
            log t(x_i | μ_k, Σ_k, ν_k), in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.StudentT([[0.0]], [[[1.0]]], [1.0]).log_prob([[0.0], [1.0]]).round(4)
        array([[-1.1447],
               [-1.8379]])
        """
        return log_prob(self, x)

    def _shown_fields(self) -> dict[str, Any]:
        return parameters("kd", self._asdict())

    def _checked(self, space: Space) -> Self:
        checked = super()._checked(space)
        degrees = _check_degrees(space, self.degrees, checked.means.shape[0])
        return checked._replace(degrees=degrees)

    def _with(self, means: Array, factors: Array) -> Self:
        return type(self)(means, factors, self.degrees)

    def _n_parameters(self) -> int:
        return super()._n_parameters() + int(self.means.shape[0])

    # --- density ---------------------------------------------------------------------------------

    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> _Prepared:  # type: ignore[override]
        form = ResidualForm.from_factors(ops, self.means, self.precision_cholesky)
        half = ops.xp.full_like(self.degrees, 0.5 * self.means.shape[1])
        constants = form.log_normalizers + log_gamma_ratio(ops.xp, 0.5 * self.degrees, half)
        if log_weights is not None:
            constants = constants + log_weights
        return _Prepared(form._replace(log_normalizers=constants), self.degrees)

    def _width(self, ops: BlockOps) -> int:
        del ops
        k, d = self.means.shape
        return int(k + d)

    def _evaluate(self, ops: BlockOps, prepared: _Prepared, x: Array) -> Evaluated:  # type: ignore[override]
        form, degrees = prepared
        constants, nu = (expand_components(a, ops.axis) for a in (form.log_normalizers, degrees))
        tails = _tails(ops, form, nu, x)
        joint = constants - 0.5 * (nu + float(self.means.shape[1])) * tails.logs
        return Evaluated(x, joint, form=tails)

    # --- estimation ------------------------------------------------------------------------------

    def _moments_block(  # type: ignore[override]
        self, ops: BlockOps, prepared: _Prepared, block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        xp, rows, (form, degrees) = ops.xp, 1 - ops.axis, prepared
        d, nu = float(self.means.shape[1]), expand_components(degrees, ops.axis)
        squared, logs = block.form or _tails(ops, form, nu, block.x)
        above, excess = scale_moments(xp, squared, logs, nu, d)
        weighted = responsibilities * (1.0 + above)
        excess = xp.sum(responsibilities * excess, axis=rows)
        first, second = moments_about(ops, form.means, block.x, weighted, products)
        return xp.sum(weighted, axis=rows), first, second, excess

    def _shapes_of_sums(self) -> tuple[tuple[int, ...], ...]:
        k, d = self.means.shape
        return (k,), (k, d), (k, d, d), (k,)

    def _limits(self, xp: Namespace, counts: Array, moments: Any) -> tuple[Limit, ...]:
        weights, first, second, excess = moments
        # u = (ν + d) / (ν + q) is at most 1 + d / ν.
        most = (1.0 + slack(xp, weights)) * (1.0 + float(self.means.shape[1]) / self.degrees)
        inside = (weights >= 0) & (weights <= most * counts)
        squares = xp.linalg.diagonal(second)
        lost = lost_squares(xp, counts[:, None], self._own_variances(xp))
        by_feature = xp.where(weights > 0, weights, 0.0)[:, None] + 0.0 * first
        return (
            Limit("weights", inside, "must be from 0 to (1 + d / degrees) times its count"),
            at_least_zero("second", squares, lost),
            at_most_by_squares(xp, "first", first, squares, by_feature, "weights · second", lost),
            at_least_about_zero(xp, "excess", excess, counts),
        )

    def _maximize(
        self, xp: Namespace, counts: Array, empty: Array, moments: Any, floor: Any
    ) -> Self:
        means, scales = self._estimate_covariances(xp, counts, empty, moments, floor)
        degrees = self._estimate_degrees(xp, counts, empty, moments.excess)
        new = type(self)(means, self._from_covariances(xp, scales), degrees)
        return new._restore_empty(xp, self, empty)

    def _means_and_covariances(
        self, xp: Namespace, counts: Array, moments: Any, floor: Any
    ) -> tuple[Array, Array]:
        weights, first, second, _ = moments
        # Under rows infinitely far away no weight is left.
        shift = first / xp.where(weights > 0, weights, 1.0)[:, None]
        shifts = linalg.outer(shift) * (weights / counts)[:, None, None]
        scales = centred_products(xp, second / counts[:, None, None], shifts, floor)
        return self.means + shift, scales

    def _estimate_degrees(self, xp: Namespace, counts: Array, empty: Array, excess: Array) -> Array:
        """Solve log(ν/2) − ψ(ν/2) = the mean of E u − 1 − E log u."""
        half = 0.5 * (self.degrees + float(self.means.shape[1]))
        gap = excess / counts + log_minus_digamma(xp, half)
        return 2.0 * solve_log_minus_digamma(xp, xp.where(empty, xp.ones_like(gap), gap))

    def _move(self, xp: Namespace, counts: Array, empty: Array, moments: Any) -> Self:
        del counts
        weights, first, *_ = moments
        good = ~empty & (weights > 0)
        shift = first / xp.where(good, weights, 1.0)[:, None]
        return self._with(self.means + xp.where(good[:, None], shift, 0.0), self.precision_cholesky)

    # --- other uses, starts and free parameters --------------------------------------------------

    def _sample(self, xp: Namespace, random: Random, labels: Array) -> Array:
        about_zero = self._with(0.0 * self.means, self.precision_cholesky)
        deviations = super(StudentT, about_zero)._sample(xp, random, labels)
        half = 0.5 * xp.take(self.degrees, labels, axis=0)
        least = float(xp.finfo(half.dtype).smallest_normal)
        scales = random.gamma(half) / half
        scales = xp.where(scales < least, least, scales)
        return xp.take(self.means, labels, axis=0) + deviations / xp.sqrt(scales)[:, None]

    def _conditional(
        self, xp: Namespace, known: tuple[int, ...], others: tuple[int, ...], values: Array
    ) -> Self:
        plain = super()._conditional(xp, known, others, values)
        factors = marginal_factors(xp, self.precision_cholesky, known)
        z = xp.matmul((values - choose(xp, self.means, known, 1))[:, None, :], factors)[:, 0, :]
        # Far from the centre, the known values say that the row's latent scale is wide.
        degrees = self.degrees + float(len(known))
        narrower = xp.sqrt(degrees / (self.degrees + xp.sum(z * z, axis=1)))
        return type(self)(plain.means, plain.precision_cholesky * narrower[:, None, None], degrees)

    @classmethod
    def _spread(cls, xp: Namespace, means: Array, variances: Array) -> Self:
        factor = linalg.diagonal_matrix(xp, 1.0 / xp.sqrt(variances))
        factors = xp.zeros_like(means)[:, :, None] + factor[None, :, :]
        return cls(means, factors, xp.zeros_like(means[:, 0]) + _DEGREES)

    @classmethod
    def _from_shares(cls, xp: Namespace, x: Array, responsibilities: Array) -> Self:
        means, covariances = shared_covariances(xp, x, responsibilities)
        degrees = xp.zeros_like(means[:, 0]) + _DEGREES
        return cls(means, cls._from_covariances(xp, covariances), degrees)

    def _to_unconstrained(self, xp: Namespace) -> tuple[Array, ...]:
        return *super()._to_unconstrained(xp), xp.log(self.degrees)

    def _from_unconstrained(self, xp: Namespace, *free: Array) -> Self:
        means, factors, log_degrees = free
        plain = super()._from_unconstrained(xp, means, factors)
        return type(self)(plain.means, plain.precision_cholesky, xp.exp(log_degrees))

    def _step_scales(self, xp: Namespace) -> tuple[Any, ...]:
        return *super()._step_scales(xp), 1.0

    def _parameter_units(self, xp: Namespace) -> tuple[Array, ...]:
        return *super()._parameter_units(xp), self.degrees


def _tails(ops: BlockOps, form: ResidualForm, nu: Array, x: Array) -> _Tails:
    """The squared lengths q of standardised residuals, and log(1 + q / ν), finite if q is not."""
    xp = ops.xp
    squared = squared_norms(ops, form, x, independent=False)

    def plain() -> Array:
        return xp.log1p(squared / nu)

    def scaled(unit: float) -> Array:
        # The square of a distance of 1e200 overflows, that of a multiple does not.
        form_scaled = form._replace(factors=form.factors * unit)
        return squared_norms(ops, form_scaled, x, independent=False)

    def everywhere() -> Array:
        return log_tails(xp, squared, nu, scaled)

    all_near = xp.all(squared / nu < math.inf)
    if is_concrete(all_near):
        return _Tails(squared, plain() if bool(all_near) else everywhere())
    return _Tails(squared, ops.cond(all_near, plain, everywhere))


def _check_degrees(space: Space, degrees: Any, k: int) -> Array:
    degrees = space.parameter("degrees", degrees)
    check_shape("degrees", degrees, (k,), ", to match means")
    return check_positive(space, "degrees", degrees)
