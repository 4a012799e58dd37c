"""How far a file has been read, shown while it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from estep_xp.cli.read.rows import Source
from estep_xp.cli.system.terminal import shows_progress
from estep_xp.em.progress import show_bar


def reading_progress(
    source: Source, *, quiet: bool
) -> AbstractContextManager[Callable[[int], None]]:
    """Show how far `source` has been read, rows per second and the time left."""
    return rows_progress(source.total, lambda _: source.position, quiet=quiet)


@contextmanager
def rows_progress(
    total: int | None, position: Callable[[int], int] = int, *, quiet: bool
) -> Iterator[Callable[[int], None]]:
    """Show how much is done, rows per second and the time left.

    Parameters
    ----------
    total : int or None
        How much there is to do, in any unit; None where that is unknown.
    position : callable
        Takes the number of rows done, returns how much of `total` that is.
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        To be called with the number of rows done.
    """
    if not shows_progress(quiet=quiet):
        yield lambda _: None
        return
    with show_bar(total, in_percent=True) as update:
        start = time.monotonic()

        def advance(n_rows: int) -> None:
            rate = n_rows / max(time.monotonic() - start, 1e-9)
            update(position(n_rows), f"{rate:,.0f} rows/s")

        yield advance
