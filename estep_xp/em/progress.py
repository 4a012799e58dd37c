"""The progress bar: of a fit, and of whatever else takes its time, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from estep_xp.em.result import EMResult


class Update(Protocol):
    """Shows how much is done, with a word before the bar and a note after it."""

    def __call__(self, completed: float, note: str, *, description: str = "") -> None:
        """Redraw the bar."""
        ...


@contextmanager
def show_bar(total: float | None, *, in_percent: bool, description: str = "") -> Iterator[Update]:
    """Show a bar while the block runs, and yield the function that moves it.

    Parameters
    ----------
    total : float or None
        How much there is to do; None where that is not known.
    in_percent : bool
        Show percents and the time left, and remove the bar in the end; or else show counts.
    description : str, optional
        The word before the bar at the beginning.
    """
    # Only here: the import takes longer than many a fit.
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
    except ImportError as error:
        raise ImportError(
            'progress=True needs rich, which is not installed; pip install "estep_xp[cli]"'
        ) from error
    note = TextColumn("{task.fields[note]}")
    columns: list[ProgressColumn]
    if in_percent:
        columns = [BarColumn(bar_width=None), TaskProgressColumn(), note, TimeRemainingColumn()]
    else:
        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), note]
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=in_percent, expand=in_percent) as bar:
        task = bar.add_task(description, total=total, note="")

        def update(completed: float, note: str, *, description: str = "") -> None:
            bar.update(task, completed=completed, note=note, description=description)

        yield update


@contextmanager
def progress_bar(max_iter: int, n_starts: int) -> Iterator[Callable[[EMResult], None]]:
    """Show iterations and log-likelihood of a fit; yield what to call after each iteration."""
    with show_bar(max_iter, in_percent=False, description="EM") as update:
        start = 0

        def advance(result: EMResult) -> None:
            nonlocal start
            start += result.n_iter == 1
            name = "EM" if n_starts == 1 else f"EM, start {start} of {n_starts}"
            note = f"log-likelihood {float(result.log_likelihood):.6f}"
            update(result.n_iter, note, description=name)

        yield advance
