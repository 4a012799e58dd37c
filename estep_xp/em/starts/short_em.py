"""Some iterations of EM from a start: the package's own E-step and M-step, nothing checked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from estep_xp import execution
from estep_xp.arrays.namespace import to_host
from estep_xp.em.iteration import Iteration
from estep_xp.families import contract
from estep_xp.mixture.call import Call
from estep_xp.mixture.kernels import Posterior
from estep_xp.mixture.mixture import Mixture

if TYPE_CHECKING:
    from estep_xp.arrays.array_types import Array
    from estep_xp.arrays.namespace import Space

_PATIENCE = 20  # steps, in which a start must be able to reach the best one at its present pace
_CLOSE = 5.0  # nats, up to which it goes on at any pace


class Fitted(NamedTuple):
    """A mixture after some iterations, and its log-likelihood; -inf if some row is impossible."""

    log_likelihood: float
    mixture: Mixture


class ShortEM(NamedTuple):
    """Iterations of EM on rows (x,) or (x, sample_weight), all of which count."""

    space: Space
    rows: tuple[Array, ...]
    options: execution.Options
    floor: float | None = None

    def run(
        self,
        mixture: Mixture,
        steps: int,
        *,
        least_rise: float = 0.0,
        best: float = -math.inf,
        accelerate: bool = False,
    ) -> Fitted:
        """Take so many steps from a mixture, or fewer.

        It ends once a step raises the total by less than `least_rise`, or by too little for it to
        come near `best`, a total that is known already.
        """
        em = Iteration(self.options, 0.0, steps, self.floor, accelerate=accelerate)
        call = self._call(mixture)
        state = em.start(call)
        em = em._replace(space=em.space_of(state.statistics))
        total = float(to_host(state.statistics.log_likelihood))
        found = Fitted(total if math.isfinite(total) else -math.inf, mixture)
        rises = [math.inf, math.inf]
        while math.isfinite(total) and state.n_iter < steps:
            try:
                state = em.step(call, state)
            except ValueError:  # no usable parameters follow: what was before will have to do
                break
            before, total = total, float(to_host(state.statistics.log_likelihood))
            if total >= found.log_likelihood:
                found = Fitted(total, state.statistics.mixture)
            rises = [rises[1], total - before]
            pace = max(rises)  # every second step is an extrapolation, which brings more
            if not total - before >= least_rise or total + _PATIENCE * pace + _CLOSE < best:
                break
        return found

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
