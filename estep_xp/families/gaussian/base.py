"""What all Gaussian components share: standardise rows, take their density, collect moments.

log N(x | μ, C) = Σ_j log P_jj − (d/2) log 2π − ½ ‖(x − μ) P‖², with precision = P Pᵀ (Bishop 2006,
eq. 2.43). The residual x − μ is formed first and squared last: x² − 2xμ + μ² cancels where the data
lie far from the origin, and (x − μ)² / σ² over- or underflows where x − μ and σ are extreme.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from estep_xp.arrays import linalg
from estep_xp.arrays.array_types import Array, ArrayLike, Namespace
from estep_xp.arrays.block import Mending, expand_components, expand_rows
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.families.family import Evaluated
from estep_xp.families.gaussian.estimation import EstimatedGaussian
from estep_xp.families.gaussian.product_form import (
    Natural,
    Rows,
    are_exact,
    bounds_of,
    centred,
    features_of,
    log_joint,
    moments,
    natural,
    rows_of,
)
from estep_xp.families.gaussian.quadratic import PRODUCTS, Quadratic
from estep_xp.families.gaussian.residual import (
    Standardizer,
    log_density,
    log_joint_of_pairs,
    norms_by_features,
    standardize,
)
from estep_xp.families.gaussian.strategy import strategy_for
from estep_xp.families.log_prob import log_prob

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.block import BlockOps


class Shared(NamedTuple):
    """What all rows share: the residual form, and the form of features where it may pay."""

    residual: Standardizer
    natural: Natural | None


class Form(NamedTuple):
    """Features of a block, and flags of the rows that they are good for; None for all."""

    features: Array
    fine: Array | None


class BlockForm(NamedTuple):
    """A block that has one form for all of its rows, which the compiled program chooses."""

    exact: Array  # (): whether the product form is exact
    features: Array  # finite, whether it is or not


@summarized
class Gaussian(EstimatedGaussian):
    """What the Gaussian families share; each adds its fields and its kind of covariance."""

    __slots__ = ()

    means: Array

    _has_expected_log_prob = True
    _starts_from_centres = True
    _is_unconstrainable = True

    _quadratic: ClassVar[Quadratic]  # the features that this kind of covariance needs
    _is_independent: ClassVar[bool]  # features of an observation are

    def log_prob(self, x: ArrayLike) -> Array:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n, d)
            Observations; shape (n,) for `UnivariateGaussian`.

        Returns
        -------
        array, shape (n, k)
            log N(x_i | μ_k, C_k), in nats.

        Raises
        ------
        ValueError, TypeError
            If an argument has a wrong shape, dtype or value.

        Examples
        --------
        >>> import estep_xp as ex
        >>> ex.UnivariateGaussian([2.0, 6.0], [1.0, 1.5]).log_prob([2.0, 4.0]).round(4)
        array([[-0.9189, -6.455 ],
               [-2.9189, -2.455 ]])
        """
        return log_prob(self, x)

    def _shown_fields(self) -> dict[str, Any]:
        record: Any = self
        return parameters("k" if self._n_axes == 1 else "kd", record._asdict())

    def _n_components(self) -> int:
        return int(self.means.shape[0])

    def _rows_shape(self) -> tuple[int | str, ...]:
        return ("n", *self.means.shape[1:])

    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> Shared:
        means, factors, log_normalizers = self._standardizer(ops)
        if log_weights is not None:
            log_normalizers = log_normalizers + log_weights
        residual = Standardizer(means, factors, log_normalizers)
        return Shared(residual, self._natural(ops, residual) if self._pays(ops) else None)

    def _standardizer(self, ops: BlockOps) -> Standardizer:
        """What rows need of the components."""
        raise NotImplementedError

    def _natural(self, ops: BlockOps, residual: Standardizer) -> Natural | None:
        means, factors, log_normalizers = residual
        if factors.ndim < 3 and ops.differentiable:  # they are deviations then
            factors = 1.0 / factors
        return natural(ops, self._quadratic, means, factors, log_normalizers)

    def _n_features(self) -> int:
        return int(self.means.shape[1]) if self.means.ndim == 2 else 1

    def _pays(self, ops: BlockOps) -> bool:
        products = self._quadratic is PRODUCTS
        return strategy_for(ops).uses_product_form(
            ops, self._n_features(), products=products, independent=self._is_independent
        )

    def _unrolls(self, ops: BlockOps) -> bool:
        return strategy_for(ops).unrolls_features(
            ops, self._n_features(), independent=self._is_independent
        )

    def _width(self, ops: BlockOps) -> int:
        d = self._n_features()
        features = self._quadratic.count(d) + d + 1 if self._pays(ops) else 0
        if ops.decides_per_block and not self._unrolls(ops):
            return max(features, self._n_components() * d)  # residuals
        return features

    def _evaluated(self, ops: BlockOps, prepared: Shared, x: Array) -> Evaluated:
        residual, natural = prepared

        def surely(x: Array) -> Array:
            return self._log_joint(ops, residual, x)

        if natural is None:
            return Evaluated(x, surely(x))
        if ops.decides_per_block:
            return self._evaluated_by_block(ops, natural, x, surely)
        kind, dtype = self._quadratic, x.dtype
        z = centred(ops, natural, x)
        rows = rows_of(ops, kind, natural, z)
        bounds = bounds_of(ops, kind, natural, rows)
        limit = natural.bound.limit

        def quickly() -> tuple[Array, Array]:
            mine = rows
            if ops.differentiable:
                # Made anew, which a compiler does in passing; what comes from outside of a choice
                # it has to store. And finite, for derivatives where both forms are computed.
                finite = centred(ops, natural, x)
                finite = ops.xp.where(expand_rows(bounds <= limit, ops.axis), finite, 0.0)
                mine = rows_of(ops, kind, natural, finite)
            features = features_of(ops, kind, mine)
            values = log_joint(ops, natural, features)
            return ops.xp.astype(values, dtype, copy=False), features

        def exact(some: Array, values: Array) -> Array:
            z, squares = (ops.xp.take(a, some, axis=1 - ops.axis) for a in (rows.z, rows.squares))
            constants = residual.log_normalizers
            return are_exact(ops, kind, natural, Rows(z, z, squares), values, constants)

        mend = Mending(exact, functools.partial(log_joint_of_pairs, ops, residual))
        values, features, fine, largest = ops.select(bounds, limit, quickly, surely, x, mend)
        return Evaluated(x, values, largest, None if features is None else Form(features, fine))

    def _evaluated_by_block(
        self, ops: BlockOps, natural: Natural, x: Array, surely: Callable[[Array], Array]
    ) -> Evaluated:
        xp, kind = ops.xp, self._quadratic
        z = centred(ops, natural, x)
        if kind is PRODUCTS and strategy_for(ops).products_for_moments_only:
            # Moments alone, of which what is finite is as exact as the others.
            exact = xp.all(z * z < math.inf) & natural.near
            features = features_of(ops, kind, rows_of(ops, kind, natural, xp.where(exact, z, 0.0)))
            return Evaluated(x, surely(x), form=BlockForm(exact, features))
        rows = rows_of(ops, kind, natural, z)
        exact = xp.all(bounds_of(ops, kind, natural, rows) <= natural.bound.limit)
        # Finite, for derivatives where both forms are computed.
        features = features_of(ops, kind, rows_of(ops, kind, natural, xp.where(exact, z, 0.0)))
        joint = ops.cond(exact, lambda: log_joint(ops, natural, features), lambda: surely(x))
        return Evaluated(x, joint, form=BlockForm(exact, features))

    def _log_joint(self, ops: BlockOps, prepared: Standardizer, x: Array) -> Array:
        """Log-joints by the residual form."""
        xp, features = ops.xp, ops.axis
        d, factors = x.shape[features], prepared.factors
        if self._unrolls(ops):
            constants = expand_components(prepared.log_normalizers, features)
            return ops.materialize(
                lambda: log_density(ops, norms_by_features(ops, prepared, x), constants),
                constants,
            )

        cut = strategy_for(ops).cuts_factors

        def norms(mean: Array, factor: Array) -> Array:
            residuals = x - expand_components(mean, features)
            if factors.ndim == 3:
                return linalg.squared_norms(ops, residuals, factor, cut=cut)
            by_feature = factors.ndim == 2
            factor = expand_components(factor, features) if by_feature else factor[..., None, None]
            return ops.sum_squares_(standardize(ops, residuals, factor), features - 2)

        if factors.ndim == 3:  # one P may be that of all components
            factors = xp.broadcast_to(factors, (prepared.means.shape[0], d, d))
        squared = ops.map_components(norms, (prepared.means, factors), ops.axis, x)
        return log_density(ops, squared, expand_components(prepared.log_normalizers, features))

    def _moments_block(
        self, ops: BlockOps, prepared: Shared, block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        residual, natural = prepared
        x, form = block.x, block.form
        if form is None or natural is None:
            return self._moments_of(ops, residual, x, responsibilities)
        if isinstance(form, BlockForm):
            sums: tuple[Array, ...] = ops.cond(
                form.exact,
                lambda: self._moments_by_features(ops, natural, x, form.features, responsibilities),
                lambda: self._moments_of(ops, residual, x, responsibilities),
            )
            return sums
        features, fine = form
        if fine is None:
            return self._moments_by_features(ops, natural, x, features, responsibilities)
        some = (ops.take_rows(a, fine) for a in (x, features, responsibilities))
        others = (ops.take_rows(a, ~fine) for a in (x, responsibilities))
        parts = zip(
            self._moments_by_features(ops, natural, *some),
            self._moments_of(ops, residual, *others),
            strict=True,
        )
        return tuple(a + b for a, b in parts)

    def _moments_by_features(
        self, ops: BlockOps, natural: Natural, x: Array, features: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        both = moments(ops, self._quadratic, natural, features, responsibilities)
        return tuple(ops.xp.astype(a, x.dtype, copy=False) for a in both)

    def _moments_of(
        self, ops: BlockOps, prepared: Standardizer, x: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        """Moments by the residual form."""
        xp, features = ops.xp, ops.axis
        by_component = (
            responsibilities if ops.axis == 0 else xp.permute_dims(responsibilities, (1, 0))
        )

        def about(mean: Array, share: Array) -> tuple[Array, Array]:
            residuals = x - expand_components(mean, features)
            weighted = residuals * expand_rows(share, features)
            second = self._second_moment(xp, weighted, residuals, features)
            return xp.sum(weighted, axis=-1 - features), second

        arrays = (prepared.means, by_component)
        sums: tuple[Array, ...] = ops.map_components(about, arrays, 0, x)
        return sums

    @staticmethod
    def _second_moment(xp: Namespace, weighted: Array, residuals: Array, features: int) -> Array:
        """What the family needs of components' second moments."""
        raise NotImplementedError

    def _expected_log_prob(
        self, ops: BlockOps, old: Self, counts: Array, moments: tuple[Array, ...]
    ) -> Array:
        # In features of x minus the old means: their sums are those very moments.
        xp = ops.xp
        first, second = moments
        means, factors, log_normalizers = self._standardizer(ops)
        if factors.ndim < 3:
            factors = 1.0 / factors
        kind = PRODUCTS if factors.ndim == 3 else self._quadratic
        shifts = means - old.means
        if means.ndim == 1:
            shifts, factors, first, second = (a[:, None] for a in (shifts, factors, first, second))
        quadratic, linear, half_norms = kind.parameters(xp, shifts, factors)
        squares = kind.packed(xp, second)
        total = xp.sum(quadratic[: squares.shape[0], :] * squares) + xp.sum(linear * first)
        return total + xp.sum((log_normalizers - half_norms) * counts)
