"""Recursions from row to row in JAX: scans, of which every transformation knows."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from estep_xp.execution.chains import (
    ChainKernel,
    ChainOps,
    ForwardKernel,
    Recursion,
    TotalKernel,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from estep_xp.arrays.array_types import AnyArray, ResultT


_MANY_ROWS = 32  # for each that is changed
_FEW_STATES = 10  # that are rather combined one by one
_STRETCH, _STATES_IN_STRETCHES = 256, 32  # rows whose outer products are summed by one product


@dataclass(frozen=True)
class JaxChainOps(ChainOps):
    """The layout of users, and `lax.scan`."""

    def messages(
        self,
        recursion: Recursion,
        matrices: AnyArray,
        evidence: AnyArray,
        resets: AnyArray,
        reference: AnyArray,
        *,
        reverse: bool = False,
    ) -> AnyArray:
        """Scan the rows; matrices of their own ride along."""
        varying = matrices.ndim == 3

        def step(joint: AnyArray, row: tuple[Any, ...]) -> tuple[AnyArray, AnyArray]:
            evidence, reset, reference, *matrix = row
            return recursion.step(
                jnp, joint, matrix[0] if varying else matrices, evidence, reset, reference
            )

        rows = (evidence, resets, reference, *((matrices,) if varying else ()))
        joint = jnp.zeros(evidence.shape[1:], evidence.dtype)
        entered: AnyArray = jax.lax.scan(step, joint, rows, reverse=reverse)[1]
        return entered

    def change(
        self,
        values: AnyArray,
        flags: AnyArray,
        rows: AnyArray,
        function: Callable[[AnyArray], AnyArray],
    ) -> AnyArray:
        """Overwrite the flagged rows, alone if they are few.

        A choice for each row is fused with what computes the values: exponentials take three times
        as long in such a loop.
        """
        if _MANY_ROWS * rows.shape[0] > values.shape[0]:
            return super().change(values, flags, rows, function)
        return values.at[rows].set(function(values[rows]))

    def sum_states(self, values: AnyArray) -> AnyArray:
        """Sums over the states of each row."""
        return _reduce_states(jnp.add, jnp.sum, values)

    def max_states(self, values: AnyArray) -> AnyArray:
        """The largest number of each row."""
        return _reduce_states(jnp.maximum, jnp.max, values)

    def sum_pairs(self, left: AnyArray, right: AnyArray) -> AnyArray:
        """Sum over rows of outer products, by stretches of rows where there are few states."""
        n, k = right.shape
        if n <= _STRETCH or k > _STATES_IN_STRETCHES:
            return super().sum_pairs(left, right)
        # What no row stands before, and what no row is in, is 0.
        before = jnp.concatenate([jnp.zeros_like(left[:1]), left[:-1]])
        beyond = ((0, -n % _STRETCH), (0, 0))
        stretches = (jnp.pad(one, beyond).reshape(-1, _STRETCH, k) for one in (before, right))
        return jnp.sum(jnp.einsum("sti,stj->sij", *stretches), axis=0)

    def scan(
        self,
        step: Callable[[Any, tuple[Any, ...]], tuple[Any, Any]],
        state: Any,
        rows: tuple[AnyArray, ...],
        *,
        reverse: bool = False,
    ) -> Any:
        """Results of `state, result = step(state, row)`, by `lax.scan`."""
        return jax.lax.scan(step, state, rows, reverse=reverse)[1]

    def sum_exp_pairs(self, left: AnyArray, right: AnyArray, wanted: AnyArray) -> AnyArray:
        """Sum of exponentials, fused into one loop."""
        del wanted
        before = self.previous(left)
        return jnp.sum(jnp.exp(before[:, :, None] + right[:, None, :]), axis=0)

    def sum_sequences(self, values: AnyArray, starts: Any, index: AnyArray) -> AnyArray:
        """Sums by sequence, in two parts, the larger of which is exact in any order.

        A running sum of 1e5 rows would lose a digit or two.
        """
        finite = jnp.isfinite(values)
        count = starts.shape[0]
        terms = jnp.where(finite, values, 0.0)
        most = jax.lax.stop_gradient(jnp.max(jnp.abs(terms), initial=0.0)) * (values.shape[0] + 2)
        # Numbers so large round to multiples of a unit, of which n add up without rounding.
        unit = 1.5 * jnp.exp2(jnp.ceil(jnp.log2(jnp.where(most > 0, most, 1.0))) + 1.0)
        high = (terms + unit) - unit
        parts = (high, terms - high, jnp.where(finite, 0.0, values))
        total, *rest = (
            jnp.sum(part, keepdims=True)
            if count == 1
            else jax.ops.segment_sum(part, index, count, indices_are_sorted=True)
            for part in parts
        )
        for part in rest:
            total = total + part
        return total

    def cond(
        self, flag: Any, if_true: Callable[[], ResultT], if_false: Callable[[], ResultT]
    ) -> ResultT:
        """Decide when the compiled program runs."""
        return jax.lax.cond(flag, if_true, if_false)


def _reduce_states(pair: Any, reduce: Any, values: AnyArray) -> AnyArray:
    """Numbers of all states combined; XLA's loops over short rows take several times as long."""
    k = values.shape[1]
    if k > _FEW_STATES:
        return reduce(values, axis=1)
    return functools.reduce(pair, (values[:, i] for i in range(k)))


OPS = JaxChainOps(jnp)


@functools.partial(jax.jit, static_argnums=0)
def run_chain(kernel: ChainKernel, *arrays: Any) -> Any:
    """Run a kernel compiled."""
    with jax.default_matmul_precision("highest"):
        return kernel.run(OPS, *arrays)


@functools.partial(jax.jit, static_argnums=0)
def run_forward(
    kernel: ForwardKernel, log_prob: AnyArray, parameters: tuple[AnyArray, ...], *others: Any
) -> Any:
    """Run a kernel compiled, with one-sided derivatives by probabilities of 0."""
    with jax.default_matmul_precision("highest"):
        parameters = kernel.normalize_all(jnp, parameters, others[0])
        return _run_forward(kernel, log_prob, parameters, others)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _run_forward(
    kernel: ForwardKernel, log_prob: AnyArray, parameters: tuple[AnyArray, ...], others: Any
) -> Any:
    return _in_order(kernel, log_prob, parameters, others)


@_run_forward.defjvp
def _run_forward_jvp(
    kernel: ForwardKernel, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> Any:
    log_prob, parameters, others = primals
    # Logarithms know nothing of what a probability of 0 would change, and linear forms lose states
    # whose probability is too small. Of each those derivatives that it is right for.
    values, slopes = jax.jvp(functools.partial(_in_order, kernel), primals, tangents)
    by_zeros = tuple(
        jnp.where(one == 0, tangent, 0.0)
        for one, tangent in zip(parameters, tangents[1], strict=True)
    )
    _, more = jax.jvp(
        lambda *probabilities: kernel.run_linearly(
            OPS, log_prob, probabilities, parameters, *others
        ),
        parameters,
        by_zeros,
    )
    return values, jax.tree.map(jnp.add, slopes, more)


def _in_order(
    kernel: ForwardKernel, log_prob: AnyArray, parameters: tuple[AnyArray, ...], others: Any
) -> Any:
    (initial, transitions, *start), (sequences, *rest) = parameters, others
    return kernel.run(OPS, log_prob, initial, transitions, sequences, *rest, *start)


def total(
    kernel: TotalKernel,
    log_prob: AnyArray,
    parameters: tuple[AnyArray, ...],
    sequences: Any,
    weights: AnyArray | None,
) -> AnyArray:
    """Add up a kernel's values of sequences; the derivative takes one pass of its own kernel."""
    result: AnyArray = _compiled_total(kernel, log_prob, parameters, sequences, weights)
    return result


@functools.partial(jax.jit, static_argnums=0)
def _compiled_total(
    kernel: TotalKernel,
    log_prob: AnyArray,
    parameters: tuple[AnyArray, ...],
    sequences: Any,
    weights: AnyArray | None,
) -> AnyArray:
    with jax.default_matmul_precision("highest"):
        return _total(kernel, log_prob, kernel.normalize(jnp, *parameters), sequences, weights)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _total(
    kernel: TotalKernel,
    log_prob: AnyArray,
    parameters: tuple[AnyArray, ...],
    sequences: Any,
    weights: AnyArray | None,
) -> AnyArray:
    values, _ = kernel.run(OPS, log_prob, *parameters, sequences, weights)
    return _weighted(values, weights)


@_total.defjvp
def _total_jvp(
    kernel: TotalKernel, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[AnyArray, AnyArray]:
    log_prob, parameters, sequences, weights = primals
    by_log_prob, by_parameters, _, by_weights = tangents
    values, slopes = kernel.derivatives(OPS, log_prob, *parameters, sequences, weights)
    terms = [
        jnp.sum(slope * tangent)
        for slope, tangent in zip(slopes, (by_log_prob, *by_parameters), strict=True)
    ]
    if weights is not None:
        masked = jnp.where(weights == 0, 0.0, values)
        terms.append(jnp.sum(masked * by_weights))
    return _weighted(values, weights), functools.reduce(jnp.add, terms)


def _weighted(values: AnyArray, weights: AnyArray | None) -> AnyArray:
    if weights is None:
        return jnp.sum(values)
    return jnp.sum(jnp.where(weights == 0, 0.0 * weights, values * weights))
