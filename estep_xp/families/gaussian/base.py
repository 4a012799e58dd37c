"""What all Gaussian components share: standardise rows, take their density, collect moments.

log N(x | μ, C) = Σ_j log P_jj − (d/2) log 2π − ½ ‖(x − μ) P‖², with precision = P Pᵀ (Bishop 2006,
eq. 2.43). The residual x − μ is formed first and squared last: x² − 2xμ + μ² cancels where the data
lie far from the origin, and (x − μ)² / σ² over- or underflows where x − μ and σ are extreme.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from estep_xp.arrays.array_types import Array, Namespace
from estep_xp.arrays.block import RowCheck, expand_components, expand_rows
from estep_xp.arrays.record_repr import parameters, summarized
from estep_xp.families.family import Evaluated
from estep_xp.families.gaussian.estimation import EstimatedGaussian
from estep_xp.families.gaussian.product_form import (
    CentredRows,
    ProductForm,
    are_exact,
    build_product_form,
    centre_rows,
    evaluate_bounds,
    evaluate_terms,
    log_joint,
    moments,
    prepare_rows,
)
from estep_xp.families.gaussian.quadratic import PRODUCTS, QuadraticTerms
from estep_xp.families.gaussian.residual import (
    ResidualForm,
    is_unrolled,
    log_density,
    log_joint_of_pairs,
    moments_about,
    squared_norms,
)
from estep_xp.families.gaussian.strategy import strategy_for
from estep_xp.families.log_prob import log_prob

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.block import BlockOps
    from estep_xp.arrays.shapes import FloatNK, RealKd, RowsLike


class DensityForms(NamedTuple):
    """What all rows share: the residual form, and the product form where it is used."""

    residual: ResidualForm
    product: ProductForm | None


class ProductTerms(NamedTuple):
    """Terms φ of a block, and flags of where the product form is exact.

    Flags are of the rows, (rows,), or None where it is exact for all. Where a compiled program
    chooses one form for the whole block, there is one flag, (); terms are finite in any case.
    """

    terms: Array
    exact: Array | None


@summarized
class Gaussian(EstimatedGaussian):
    """What the Gaussian families share; each adds its fields and its kind of covariance."""

    __slots__ = ()

    means: RealKd

    _has_two_forms = True
    _has_expected_log_prob = True
    _starts_from_centres = True
    _is_unconstrainable = True
    _is_recenterable = True

    _quadratic: ClassVar[QuadraticTerms]  # what this kind of covariance needs
    _is_independent: ClassVar[bool]  # whether features of an observation are independent

    def log_prob(self, x: RowsLike) -> FloatNK:
        """Log-density of each row under each component.

        Parameters
        ----------
        x : array, shape (n, d)
            Observations; shape (n,) for univariate components.

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

    def _prepare(self, ops: BlockOps, log_weights: Array | None) -> DensityForms:
        means, factors, log_normalizers = self._residual_form(ops)
        if log_weights is not None:
            log_normalizers = log_normalizers + log_weights
        residual = ResidualForm(means, factors, log_normalizers)
        product = self._product_form(ops, residual) if self._uses_product_form(ops) else None
        return DensityForms(residual, product)

    def _residual_form(self, ops: BlockOps) -> ResidualForm:
        """Return the residual form of the densities."""
        raise NotImplementedError

    def _product_form(self, ops: BlockOps, residual: ResidualForm) -> ProductForm | None:
        """Return the product form of the same log-joints; None where it is exact for no row."""
        means, factors, log_normalizers = residual
        if factors.ndim < 3 and ops.differentiable:  # they are deviations then
            factors = 1.0 / factors
        return build_product_form(ops, self._quadratic, means, factors, log_normalizers)

    def _n_features(self) -> int:
        return int(self.means.shape[1]) if self.means.ndim == 2 else 1

    def _uses_product_form(self, ops: BlockOps) -> bool:
        products = self._quadratic is PRODUCTS
        return strategy_for(ops).uses_product_form(
            ops, self._n_features(), products=products, independent=self._is_independent
        )

    def _width(self, ops: BlockOps) -> int:
        d, strategy = self._n_features(), strategy_for(ops)
        terms = self._quadratic.count(d) + d + 1 if self._uses_product_form(ops) else 0
        if ops.decides_per_block and not strategy.unrolls_features(
            ops, d, independent=self._is_independent
        ):
            return max(terms, self._n_components() * d)  # residuals
        return terms

    def _evaluate(self, ops: BlockOps, prepared: DensityForms, x: Array) -> Evaluated:
        residual, form = prepared

        def by_residuals(x: Array) -> Array:
            return self._log_joint(ops, residual, x)

        if form is None:
            return Evaluated(x, by_residuals(x))
        if ops.decides_per_block:
            return self._evaluate_block(ops, form, x, by_residuals)
        kind, dtype = self._quadratic, x.dtype
        rows = prepare_rows(ops, kind, form, centre_rows(ops, form, x))
        bounds = evaluate_bounds(ops, kind, form, rows)
        limit = form.bound.limit

        def by_products() -> tuple[Array, Array]:
            inner = rows
            if ops.differentiable:
                # Recomputed inside the branch: XLA fuses that for free, but must store values
                # captured from outside a `cond`. And finite: derivatives compute both forms.
                finite = centre_rows(ops, form, x)
                finite = ops.xp.where(expand_rows(bounds <= limit, ops.axis), finite, 0.0)
                inner = prepare_rows(ops, kind, form, finite)
            terms = evaluate_terms(ops, kind, inner)
            return ops.xp.astype(log_joint(ops, form, terms), dtype, copy=False), terms

        def are_exact_at(indices: Array, values: Array) -> Array:
            z, squares = (
                ops.xp.take(a, indices, axis=1 - ops.axis) for a in (rows.z, rows.squares)
            )
            constants = residual.log_normalizers
            return are_exact(ops, kind, form, CentredRows(z, z, squares), values, constants)

        check = RowCheck(are_exact_at, functools.partial(log_joint_of_pairs, ops, residual))
        values, terms, exact, largest = ops.select(
            bounds, limit, by_products, by_residuals, x, check
        )
        return Evaluated(x, values, largest, None if terms is None else ProductTerms(terms, exact))

    def _evaluate_block(
        self,
        ops: BlockOps,
        form: ProductForm,
        x: Array,
        by_residuals: Callable[[Array], Array],
    ) -> Evaluated:
        """Evaluate all rows by one form, which a compiled program chooses."""
        xp, kind = ops.xp, self._quadratic
        z = centre_rows(ops, form, x)
        if kind is PRODUCTS and strategy_for(ops).products_for_moments_only:
            # Moments are as exact by products as by residuals wherever terms are finite.
            exact = xp.all(z * z < math.inf) & form.moments_exact
            finite = prepare_rows(ops, kind, form, xp.where(exact, z, 0.0))
            terms = evaluate_terms(ops, kind, finite)
            return Evaluated(x, by_residuals(x), form=ProductTerms(terms, exact))
        rows = prepare_rows(ops, kind, form, z)
        exact = xp.all(evaluate_bounds(ops, kind, form, rows) <= form.bound.limit)
        # Finite: derivatives compute both forms.
        finite = prepare_rows(ops, kind, form, xp.where(exact, z, 0.0))
        terms = evaluate_terms(ops, kind, finite)
        joint = ops.cond(exact, lambda: log_joint(ops, form, terms), lambda: by_residuals(x))
        return Evaluated(x, joint, form=ProductTerms(terms, exact))

    def _log_joint(self, ops: BlockOps, form: ResidualForm, x: Array) -> Array:
        """Return log-joints by the residual form."""
        constants = expand_components(form.log_normalizers, ops.axis)

        def density() -> Array:
            squared = squared_norms(ops, form, x, independent=self._is_independent)
            return log_density(ops, squared, constants)

        if is_unrolled(ops, form, independent=self._is_independent):
            return ops.materialize(density, constants)
        return density()

    def _moments_block(
        self, ops: BlockOps, prepared: DensityForms, block: Evaluated, responsibilities: Array
    ) -> tuple[Array, ...]:
        residual, form = prepared
        x = block.x
        if block.form is None or form is None:
            return self._moments_by_residuals(ops, residual, x, responsibilities)
        terms, exact = block.form
        if exact is None:
            return self._moments_by_products(ops, form, x, terms, responsibilities)
        if ops.decides_per_block:
            sums: tuple[Array, ...] = ops.cond(
                exact,
                lambda: self._moments_by_products(ops, form, x, terms, responsibilities),
                lambda: self._moments_by_residuals(ops, residual, x, responsibilities),
            )
            return sums
        fast = (ops.take_rows(a, exact) for a in (x, terms, responsibilities))
        others = (ops.take_rows(a, ~exact) for a in (x, responsibilities))
        parts = zip(
            self._moments_by_products(ops, form, *fast),
            self._moments_by_residuals(ops, residual, *others),
            strict=True,
        )
        return tuple(a + b for a, b in parts)

    def _moments_by_products(
        self, ops: BlockOps, form: ProductForm, x: Array, terms: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        """Return moments as products of responsibilities with terms of the product form."""
        both = moments(ops, self._quadratic, form, terms, responsibilities)
        return tuple(ops.xp.astype(a, x.dtype, copy=False) for a in both)

    def _moments_by_residuals(
        self, ops: BlockOps, form: ResidualForm, x: Array, responsibilities: Array
    ) -> tuple[Array, ...]:
        """Return moments as sums over residuals."""
        return moments_about(ops, form.means, x, responsibilities, self._second_moment)

    @staticmethod
    def _second_moment(xp: Namespace, weighted: Array, residuals: Array, axis: int) -> Array:
        """Return what the family needs of second moments; features lie along `axis`."""
        raise NotImplementedError

    def _expected_log_prob(
        self, ops: BlockOps, old: Self, counts: Array, moments: tuple[Array, ...]
    ) -> Array:
        # By the product form about the old means, with z = x − old.means: sums of its terms are the
        # moments, and `shifts` are the new means in the coordinates of z.
        xp = ops.xp
        first, second = moments
        means, factors, log_normalizers = self._residual_form(ops)
        if factors.ndim < 3:
            factors = 1.0 / factors
        kind = PRODUCTS if factors.ndim == 3 else self._quadratic
        shifts = means - old.means
        if means.ndim == 1:
            shifts, factors, first, second = (a[:, None] for a in (shifts, factors, first, second))
        quadratic, linear, half_norms = kind.coefficients(xp, shifts, factors)
        squares = kind.pack_moments(xp, second)
        total = xp.sum(quadratic[: squares.shape[0], :] * squares) + xp.sum(linear * first)
        return total + xp.sum((log_normalizers - half_norms) * counts)
