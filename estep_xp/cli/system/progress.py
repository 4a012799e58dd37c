"""A progress bar with rate and time left, on standard error if that is a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from estep_xp.cli.read.rows import Source
from estep_xp.cli.system.terminal import is_terminal, wants_colour


def shows_progress(*, quiet: bool) -> bool:
    """Return whether a bar is welcome: on a terminal that can redraw a line, unless told not to."""
    return not quiet and is_terminal(sys.stderr) and os.environ.get("TERM") != "dumb"


@contextmanager
def progress(source: Source, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show how far `source` has been read while the block runs.

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
    # Only here: its import takes longer than a small file.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, color_system="auto" if wants_colour(sys.stderr) else None)
    bar = Progress(
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        expand=True,
    )
    with bar:
        task = bar.add_task("", total=source.total, rate="")
        start = time.monotonic()

        def advance(n_rows: int) -> None:
            rate = n_rows / max(time.monotonic() - start, 1e-9)
            bar.update(task, completed=source.position, rate=f"{rate:,.0f} rows/s")

        yield advance
