"""The base of all drivers: how kernels are driven over the rows of one array library."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from estep_xp.arrays.namespace import namespace_of
from estep_xp.arrays.quiet import quietly
from estep_xp.arrays.random import HostRandom, generator_of
from estep_xp.execution.chains import ChainOps

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from estep_xp.arrays.array_types import Array, ResultT
    from estep_xp.arrays.namespace import Space
    from estep_xp.execution.call_options import Options
    from estep_xp.execution.chains import ChainKernel
    from estep_xp.execution.chains import TotalKernel as ChainTotalKernel
    from estep_xp.execution.kernel import Kernel, TotalKernel


class Driver(abc.ABC):
    """How kernels are driven over rows: in blocks, by threads, compiled, or as a graph of tasks.

    A driver answers `map_rows` and `sum_rows`. The other methods have defaults that suit a library
    whose functions compute at once; one that compiles, or computes later, has its own.

    Parameters
    ----------
    library : str
        Name of the array library, as in `Space.library`.
    """

    reorders_rows = False  # rows are arrays in memory, and work on them gains by an order of theirs
    compiles = False  # a function is made a program, for each shape of its arguments anew

    def __init__(self, library: str) -> None:
        self.library = library

    @abc.abstractmethod
    def map_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, ...]:
        """Apply a kernel to all rows, and leave out its sums.

        Returns
        -------
        tuple of arrays, shapes (n, *tail)
            One for each of the kernel's `tails`.
        """

    @abc.abstractmethod
    def sum_rows(
        self,
        kernel: Kernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, ...]:
        """Add up a kernel's sums over all rows, in memory that does not grow with their number."""

    def total(
        self,
        kernel: TotalKernel,
        space: Space,
        rows: tuple[Array, ...],
        parameters: Any,
        options: Options,
    ) -> tuple[Array, Array | None]:
        """Add up a kernel's one result for each row.

        Returns
        -------
        tuple of array, shape (), and array, shape (n,), or None
            The sum, and the results of rows where they were at hand.
        """
        (results,) = self.map_rows(kernel, space, rows, parameters, options)
        return quietly(space.xp.sum, results), results

    def compute(self, function: Callable[..., ResultT], space: Space, *arrays: Any) -> ResultT:
        """Call `function(xp, *arrays)` on parameters, compiled where the library compiles.

        Floating-point warnings are off: callers look at the results instead.
        """
        return quietly(function, space.xp, *arrays)

    def run_chain(self, kernel: ChainKernel, space: Space, *arrays: Any) -> Any:
        """Run a kernel over all rows of sequences, one row after the other."""
        return quietly(kernel.run, ChainOps(space.xp), *arrays)

    def rows_of_part(self, k: int) -> int | None:
        """How many rows of chains of k states to work on at once; None where all are."""
        del k
        return None

    def sum_chain(
        self, kernel: Any, x: Array, parameters: Any, model: Any, block_size: int | None
    ) -> tuple[Array, tuple[Array, ...]] | None:
        """Values (s,) and sums of a kernel over blocks of rows of sequences, in a compiled loop.

        None where rows are not worked on in that way.
        """
        del kernel, x, parameters, model, block_size
        return None

    def chain_total(
        self,
        kernel: ChainTotalKernel,
        space: Space,
        log_prob: Array,
        parameters: tuple[Array, ...],
        sequences: Any,
        weights: Array | None,
    ) -> tuple[Array, Any]:
        """Add up a kernel's values of sequences by their weights; None counts each once.

        Returns
        -------
        tuple of array, shape (), and arrays, shapes (s,) and (n,), or None
            The sum, and the kernel's results where they were at hand.
        """
        results = self.run_chain(kernel, space, log_prob, *parameters, sequences, weights)
        return quietly(_weighted_sum, space.xp, results[0], weights), results

    def draw(
        self, function: Callable[..., ResultT], space: Space, seed: Any, *arrays: Any
    ) -> ResultT:
        """Call `function(xp, random, *arrays)`, compiled where the library compiles.

        `random` is a `Random`; the seed may be anything that NumPy's generator takes.
        """
        return quietly(function, space.xp, HostRandom(space, generator_of(seed)), *arrays)

    def call_on_one_thread(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Call `function(*arguments)`, the library's own threads held to one.

        What it computes then is the same on any number of processors.
        """
        return quietly(function, *arguments)

    def call_lazily(
        self, function: Callable[..., Any], space: Space, arguments: tuple[Any, ...], like: Any
    ) -> Any:
        """Call `function(space, *arguments)`, later where arrays are lazy.

        The result is a record of arrays of the shapes of those in `like`.
        """
        del like
        return function(space, *arguments)

    def chunks_of_rows(self, rows: Array) -> tuple[int, ...]:
        """Lengths of the chunks that rows lie in, which are worked on one by one."""
        return (rows.shape[0],)

    def read_again(self, rows: Array) -> Array:
        """The same rows, for a second pass: where they are read later, they are so once more."""
        return rows

    def materialize(self, value: ResultT) -> ResultT:
        """Return a record of arrays whose values exist, or will when a compiled program runs."""
        return value

    def map_each_row(self, function: Callable[..., ResultT], *arrays: Array) -> ResultT:
        """Call `function(xp, *arrays)`, which treats every row alone."""
        return function(namespace_of(*arrays), *arrays)

    def sum_values(self, values: Array) -> Array:
        """Add up one value of each row."""
        total: Array = namespace_of(values).sum(values)
        return total

    def mean_value(self, values: Array) -> Array:
        """Average one value of each row."""
        mean: Array = namespace_of(values).mean(values)
        return mean

    def pad_rows(self, rows: tuple[Array, ...]) -> tuple[Array, ...] | None:
        """Append copies of the last row, of weight 0, to rows (x,) or (x, sample_weight).

        None where nothing is gained: padding is for libraries that compile for each n anew.
        """
        del rows
        return None

    def sample_rows(
        self, rows: tuple[Array, ...], limit: int, random: np.random.Generator
    ) -> tuple[Array, ...]:
        """Return the rows, or a sample of about `limit` of them where they are not in memory."""
        del limit, random
        return rows

    def cond(
        self, flag: Any, if_true: Callable[[], ResultT], if_false: Callable[[], ResultT]
    ) -> ResultT:
        """Return what one of two functions returns, without a call of the other if possible."""
        return if_true() if flag else if_false()

    def while_loop(
        self,
        step: Callable[[ResultT], ResultT],
        should_continue: Callable[[ResultT], Array],
        objective: Callable[[ResultT], Array],
        state: ResultT,
        max_iter: int,
    ) -> tuple[ResultT, Array]:
        """Step inside a compiled program until `should_continue` says no.

        Returns
        -------
        tuple of state, and array, shape (max_iter,)
            The last state, and the objective after each step, padded.

        Raises
        ------
        TypeError
            If the library compiles no loops: callers loop in Python where values exist.
        """
        del step, should_continue, objective, state, max_iter
        raise TypeError(
            "a loop that ends by itself needs numbers, and there are none inside transformations "
            f"of {self.library}; call it outside of them"
        )


def _weighted_sum(xp: Any, values: Array, weights: Array | None) -> Array:
    if weights is None:
        total: Array = xp.sum(values)
        return total
    weighted: Array = xp.sum(xp.where(weights == 0, 0.0 * weights, values * weights))
    return weighted
