"""Ctrl-C at any moment of a call on threads: it arrives, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import estep_xp as ex
from estep_xp.execution.numpy import driver
from tests.test_threads import MIXTURE, blas_threads, rows

# All places, and thousands of signals: minutes.
_ALL = bool(os.environ.get("ESTEP_XP_ALL_INTERRUPTS"))


@pytest.mark.parametrize(
    ("how", "stride", "least"),
    [("opcodes", 1 if _ALL else 23, 300), ("events", 1 if _ALL else 11, 300)],
)
def test_an_interrupt_at_any_place_arrives_and_leaves_nothing_behind(how, stride, least):
    assert interrupts(how, stride, stride // 2) >= least


def test_interrupts_at_random_times_leave_nothing_behind():
    assert interrupts("signals", count := 10_000 if _ALL else 100) >= count


def test_a_call_at_once_after_an_interrupt_of_the_end_leaves_nothing_behind():
    assert interrupts("ends", count := 10_000 if _ALL else 600) >= count


def interrupts(*arguments):
    """How many there were, of a kind that tests/interrupts.py knows."""
    process = subprocess.run(
        [sys.executable, "-m", "tests.interrupts", *map(str, arguments)],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=3600 if _ALL else 120,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return int(process.stdout)


class Interrupted:
    """Components by someone who also tells NumPy things."""

    def log_prob(self, x):
        del x
        np.seterr(all="raise")
        np.setbufsize(4096)
        raise KeyboardInterrupt


@pytest.mark.parametrize("options", [{}, {"workers": 1}, {"workers": 3, "block_size": 50}])
def test_an_interrupt_in_a_block_leaves_nothing_behind(options):
    before = state()
    with pytest.raises(KeyboardInterrupt) as kept:
        ex.e_step(rows(1000), MIXTURE._replace(components=Interrupted()), **options)
    assert traceback.format_tb(kept.tb)  # and with them, all frames
    assert state() == before


def test_an_interrupt_between_blocks_leaves_nothing_behind():
    before = state()
    with (
        mock.patch.object(driver, "_add_terms", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt) as kept,
    ):
        ex.expected_statistics(rows(1000), MIXTURE, workers=3, block_size=50)
    assert traceback.format_tb(kept.tb)
    assert state() == before


def state():
    return blas_threads(), threading.active_count(), np.geterr(), np.getbufsize()
