"""A few iterations of EM from a start: the package's own E-step and M-step, nothing checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.namespace import to_host
from estep_xp.em.iteration import Iteration
from estep_xp.em.m_step import run_m_step
from estep_xp.families import contract
from estep_xp.mixture.call import Call
from estep_xp.mixture.kernels import Posterior
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space


class Fitted(NamedTuple):
    """A mixture after a few iterations, and its log-likelihood; -inf if some row is impossible."""

    log_likelihood: float
    mixture: Mixture


class ShortEM(NamedTuple):
    """Iterations of EM on rows (x,) or (x, sample_weight), all of which count."""

    space: Space
    rows: tuple[Array, ...]
    options: execution.Options

    def run(self, mixture: Mixture, steps: int, least_rise: float = 0.0) -> Fitted:
        """Take so many steps from a mixture, or fewer once one raises the total by too little."""
        em = Iteration(self.options, 0.0, steps, None, accelerate=False)
        call = self._call(mixture)
        best = Fitted(-math.inf, mixture)
        for step in range(steps + 1):
            statistics, _ = em.take_statistics(call, mixture)
            total = float(to_host(statistics.log_likelihood))
            if not math.isfinite(total):
                return best
            done = total - best.log_likelihood < least_rise
            if total >= best.log_likelihood:
                best = Fitted(total, mixture)
            if done or step == steps:
                break
            try:
                mixture = run_m_step(self.space, statistics, None)
            except ValueError:  # no usable parameters follow: what was before will have to do
                break
        return best

    def responsibilities(self, mixture: Mixture) -> Array:
        """Responsibilities (n, k) of the rows."""
        kernel = Posterior(int(mixture.weights.shape[0]), True, lazy=False)
        driver = execution.driver_for(self.space)
        result: Array = driver.map_rows(kernel, self.space, self.rows[:1], mixture, self.options)[0]
        return result

    def _call(self, mixture: Mixture) -> Call:
        return Call(self.space, "x", self.rows, mixture, zeros=True, masks=False)


def can_iterate(components: Any) -> bool:
    """Whether components have all that EM needs."""
    return contract.family_of(components)._missing_method() is None
