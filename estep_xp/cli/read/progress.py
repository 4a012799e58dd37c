"""How far a file has been read, shown while it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from estep_xp.cli.read.rows import Source
from estep_xp.cli.system.terminal import shows_progress
from estep_xp.em.progress import show_bar


@contextmanager
def reading_progress(source: Source, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how far `source` has been read, rows per second and the time left.

    Parameters
    ----------
    source : Source
        The file that is being read.
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
    with show_bar(source.total, in_percent=True) as update:
        start = time.monotonic()

        def advance(n_rows: int) -> None:
            rate = n_rows / max(time.monotonic() - start, 1e-9)
            update(source.position, f"{rate:,.0f} rows/s")

        yield advance
