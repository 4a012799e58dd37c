"""The progress bar of a fit: iterations and log-likelihood, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estep_xp.em.result import EMResult


@contextmanager
def progress_bar(max_iter: int, n_starts: int) -> Iterator[Callable[[EMResult], None]]:
    """Show a bar while the block runs, and yield what must be called after each iteration."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    except ImportError as error:
        raise ImportError(
            'progress=True needs rich, which is not installed; pip install "estep_xp[cli]"'
        ) from error
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("log-likelihood {task.fields[height]}"),
        console=Console(stderr=True),
    )
    with bar:
        start = 0
        task = bar.add_task("EM", total=max_iter, height="")

        def advance(result: EMResult) -> None:
            nonlocal start
            start += result.n_iter == 1
            name = "EM" if n_starts == 1 else f"EM, start {start} of {n_starts}"
            height = f"{float(result.log_likelihood):.6f}"
            bar.update(task, completed=result.n_iter, description=name, height=height)

        yield advance
