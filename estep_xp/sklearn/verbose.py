"""What ``verbose`` prints, line by line as scikit-learn does."""

from __future__ import annotations

from time import perf_counter


class Reporter:
    """Prints how fits go: nothing, lines, or lines with times, at `verbose` 0, 1 and 2."""

    def __init__(self, verbose: int, interval: int) -> None:
        self.verbose, self.interval = int(verbose), interval
        self.begun = self.last = perf_counter()

    def begin(self, start: int) -> None:
        """Say that the fit from a start begins, counted from 0."""
        if self.verbose:
            print(f"Initialization {start}")  # noqa: T201
        self.begun = self.last = perf_counter()

    def iterate(self, n_iter: int, change: float) -> None:
        """Say that an iteration is done, in some of them."""
        if not self.verbose or n_iter % self.interval:
            return
        text = f"  Iteration {n_iter}"
        if self.verbose >= 2:
            now = perf_counter()
            text += f"\t time lapse {now - self.last:.5f}s\t ll change {change:.5f}"
            self.last = now
        print(text)  # noqa: T201

    def end(self, bound: float, *, converged: bool) -> None:
        """Say how the fit from a start has ended."""
        if not self.verbose:
            return
        text = f"Initialization {'converged' if converged else 'did not converge'}."
        if self.verbose >= 2:
            text += f" time lapse {perf_counter() - self.begun:.5f}s\t lower bound {bound:.5f}."
        print(text)  # noqa: T201
