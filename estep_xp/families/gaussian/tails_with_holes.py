"""Student-t components, and rows of which features are missing.

What was observed of a row is Student-t with the same degrees ν, and tells less of the row's latent
scale u: given o features at a squared distance δ it is gamma distributed with shape (ν + o) / 2 and
rate (ν + δ) / 2. The hidden features are, given u, Gaussian with the conditional covariance over u,
so that their part of Σ r u (v − μ)(v − μ)ᵀ does not depend on u.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp.arrays.special import log1p_minus, log_gamma_ratio, log_minus_digamma
from estep_xp.families.gaussian.dependent import DependentGaussian
from estep_xp.families.gaussian.incomplete import (
    Conditional,
    condition_rows,
    map_components,
    rows_first,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import Array, Namespace
    from estep_xp.arrays.block import BlockOps
    from estep_xp.families.family import ObservedRows


class _Form(NamedTuple):
    means: Array  # (k, d)
    factors: Array  # (k, d, d): precision Cholesky factors of the scale matrices
    scales: Array  # (k, d, d)
    degrees: Array  # (k,)
    constants: Array  # (k,): log w + log |P|


class TailsWithHoles(DependentGaussian):
    """What Student-t components answer for rows of which a part was not observed."""

    __slots__ = ()

    degrees: Any

    def _prepare_incomplete(self, ops: BlockOps, log_weights: Array | None) -> Any:
        plain = super()._prepare_incomplete(ops, log_weights)
        return _Form(plain.means, plain.factors, plain.covariances, self.degrees, plain.constants)

    def _evaluate_incomplete(
        self, ops: BlockOps, prepared: Any, rows: ObservedRows
    ) -> tuple[Array, None]:
        xp = ops.xp

        def of_component(found: Conditional, n_seen: Array, form: _Form) -> Array:
            nu, half = form.degrees, 0.5 * n_seen
            ratio = log_gamma_ratio(xp, 0.5 * nu + 0.0 * half, half)
            normalizers = form.constants + found.log_normalizers + ratio
            return normalizers - (0.5 * nu + half) * _log_tails_of(xp, found.rest, nu)

        joint: Array = _map_known(ops, prepared, rows, of_component)
        return joint if ops.axis == 0 else xp.permute_dims(joint, (1, 0)), None

    def _moments_incomplete(
        self,
        ops: BlockOps,
        prepared: Any,
        rows: ObservedRows,
        form: Any,
        responsibilities: Array,
    ) -> tuple[Array, ...]:
        del form
        xp, d = ops.xp, float(self.means.shape[1])
        shares = responsibilities if ops.axis == 0 else xp.permute_dims(responsibilities, (1, 0))

        def of_component(found: Conditional, n_seen: Array, own: _Form) -> tuple[Array, ...]:
            share, nu = own.constants, own.degrees
            logs = _log_tails_of(xp, found.rest, nu)
            above, excess = scale_moments(xp, found.squared(xp), logs, nu, n_seen)
            weighted = share * (1.0 + above)
            # Of its scale a row with holes says less: E u − 1 − E log u is larger.
            less = log_minus_digamma(xp, 0.5 * (nu + n_seen))
            less = less - log_minus_digamma(xp, 0.5 * (nu + d))
            residuals = found.residuals * weighted[:, None]
            second = xp.matmul(xp.matrix_transpose(residuals), found.residuals)
            second = second + xp.sum(found.covariances * share[:, None, None], axis=0)
            second = 0.5 * second + 0.5 * xp.matrix_transpose(second)
            total = xp.sum(share * (excess + less))
            return xp.sum(weighted), xp.sum(residuals, axis=0), second, total

        found: tuple[Array, ...] = _map_known(
            ops, prepared._replace(constants=shares), rows, of_component
        )
        return found

    def _conditional_moments(
        self, ops: BlockOps, prepared: Any, rows: ObservedRows
    ) -> tuple[Array, Array]:
        xp = ops.xp

        def of_component(found: Conditional, n_seen: Array, form: _Form) -> tuple[Array, Array]:
            degrees = form.degrees + n_seen
            finite = degrees > 2.0
            wider = (form.degrees + found.squared(xp)) / xp.where(finite, degrees - 2.0, 1.0)
            wider = xp.where(finite, wider, math.inf)[:, None, None]
            known = found.covariances == 0
            covariances = xp.where(known, 0.0, xp.where(known, 1.0, found.covariances) * wider)
            return form.means + found.residuals, covariances

        means, covariances = _map_known(ops, prepared, rows, of_component)
        return xp.moveaxis(means, 0, 1), xp.moveaxis(covariances, 0, 1)


def _map_known(
    ops: BlockOps,
    form: _Form,
    rows: ObservedRows,
    function: Callable[[Conditional, Array, _Form], Any],
) -> Any:
    xp = ops.xp
    x, seen, errors = rows_first(ops, rows)
    n_seen = xp.sum(xp.astype(seen, x.dtype), axis=1)

    def of_component(*arrays: Array) -> Any:
        own = _Form(*arrays)
        found = condition_rows(xp, own.means, own.factors, own.scales, x, seen, errors)
        return function(found, n_seen, own)

    return map_components(ops, of_component, form, x)


def scale_moments(
    xp: Namespace, squared: Array, logs: Array, nu: Array, d: Array | float
) -> tuple[Array, Array]:
    """U − 1 and u − 1 − log u of expected scales u = (ν + d) / (ν + q), given log(1 + q / ν)."""
    # Without the cancellation of (ν + d) / (ν + q) for large ν.
    near = squared < math.inf
    kept = xp.where(near, squared, 0.0)
    above = xp.where(near, (d - kept) / (nu + kept), -1.0)
    close = above > -0.5
    excess = xp.where(
        close,
        -log1p_minus(xp, xp.where(close, above, 0.0)),
        above - xp.log1p(d / nu) + logs,
    )
    return above, excess


def log_tails(xp: Namespace, squared: Array, nu: Array, scaled: Callable[[float], Array]) -> Array:
    """log(1 + q / ν), finite where the square q is not; `scaled(unit)` is q unit²."""
    near = squared / nu < math.inf
    unit = float(xp.finfo(squared.dtype).max) ** -0.5
    far = xp.log(xp.where(near, 1.0, scaled(unit))) - 2.0 * math.log(unit) - xp.log(nu)
    return xp.where(near, xp.log1p(xp.where(near, squared, 0.0) / nu), far)


def _log_tails_of(xp: Namespace, rest: Array, nu: Array) -> Array:
    """The same of standardised residuals (n, d)."""

    def squares(unit: float) -> Array:
        scaled = rest * unit
        return xp.sum(scaled * scaled, axis=1)

    return log_tails(xp, squares(1.0), nu, squares)
