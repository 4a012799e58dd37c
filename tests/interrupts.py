"""Interrupts at each place of a call, in a process of its own: `python -m tests.interrupts HOW`.

HOW is one of

opcodes STRIDE OFFSET   raise between two bytecodes of the drivers' code and of `threading`
events STRIDE OFFSET    send SIGINT where a function begins, or one of C has returned
ends COUNT              raise between two bytecodes of what takes the limit back, as many times,
                        and call again at once
signals COUNT           send as many signals at random times, one to three in a row

It says how many interrupts there were. It ends with an error when something is left behind or an
interrupt is lost, and with the tracebacks of all threads when nothing moves any more.
"""

from __future__ import annotations

import _thread
import contextlib
import faulthandler
import itertools
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

import estep_xp as ex
from estep_xp import execution
from estep_xp.execution.numpy import blas, driver, threads

_FILES = (str(Path(execution.__file__).parent), threading.__file__)
_ENDS = {each.__code__ for each in (threads._Crew.end, blas.OneThread.end, blas._restore)}
_SILENCE = 30  # seconds

_X = np.random.default_rng(0).normal(size=(900, 2))
_MIXTURE = ex.Mixture(np.ones(2), ex.DiagonalGaussian(np.eye(2), np.ones((2, 2))))


class _Failing:
    """Components by someone else, which fail in the end."""

    def log_prob(self, x):
        if x[0, 0] == _X[600, 0]:
            raise ArithmeticError("in a user's own code")
        return _MIXTURE.components.log_prob(x)


def _alone():
    ex.e_step(_X, _MIXTURE, workers=1, block_size=300)
    _with_a_limit(1)


def _with_a_limit(workers):
    large = driver
    numbers, large._THREADED_ELEMENTS = large._THREADED_ELEMENTS, 0
    try:
        ex.log_joint(_X, _MIXTURE, workers=workers, block_size=450)
    finally:
        large._THREADED_ELEMENTS = numbers


def _in_two_threads():
    ex.e_step(_X, _MIXTURE, workers=2, block_size=300)


def _failing():
    with contextlib.suppress(ArithmeticError):
        mixture = _MIXTURE._replace(components=_Failing())
        ex.e_step(_X, mixture, workers=2, block_size=300)


def _summing():
    ex.expected_statistics(_X, _MIXTURE, workers=3, block_size=100)


def _fitting():
    ex.fit(_X, _MIXTURE, workers=2, block_size=300, max_iter=2, tol=0.0)


_CALLS = (_alone, _in_two_threads, _failing, _summing, _fitting)


def _state():
    """What a call must leave as it was."""
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    return pools, _thread._count(), threading.active_count(), np.geterr(), np.getbufsize()


def _check_state(before, place):
    end = time.monotonic() + 1
    while (after := _state()) != before and time.monotonic() < end:
        time.sleep(0.002)
    if after != before:
        sys.exit(f"{place}: {after} is left, not {before}")


def _arrives(call, install, uninstall):
    """Whether an interrupt comes out of a call."""
    faulthandler.dump_traceback_later(_SILENCE, exit=True)
    try:
        install()
        try:
            call()
        finally:
            uninstall()
    except KeyboardInterrupt:
        return True
    finally:
        faulthandler.cancel_dump_traceback_later()
    return False


def _everywhere(setter, tracer, stride, offset):
    """Interrupt each call at every place, until it ends before that."""
    total = 0
    for call in _CALLS:
        call()
        before = _state()
        for place in itertools.count(offset, stride):
            sent = []
            trace = tracer(place, sent, _is_a_drivers)
            arrived = _arrives(call, lambda: setter(trace), lambda: setter(None))  # noqa: B023
            _check_state(before, f"{call.__name__}, place {place}")
            if not sent:
                break
            if not arrived and call is not _fitting:  # which may hand back what it has
                sys.exit(f"{call.__name__}, place {place}: lost in {sent}")
            total += 1
    return total


def _is_a_drivers(code):
    return code.co_filename.startswith(_FILES)


def _opcode_tracer(place, sent, meant):
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if not meant(frame.f_code):
            return None
        frame.f_trace_opcodes = True
        if event in ("opcode", "line"):  # Python 3.13 sees no bytecodes of a frame without loops
            count += 1
            if count > place:
                sent.append(frame.f_code)
                raise KeyboardInterrupt
        return trace

    return trace


def _event_tracer(place, sent, _):
    count = 0

    def trace(frame, event, _):
        nonlocal count
        if event in ("call", "c_return"):
            count += 1
            if count > place:
                sys.setprofile(None)
                sent.append(frame.f_code)
                os.kill(os.getpid(), signal.SIGINT)

    return trace


def _in_ends(count):
    sys.setswitchinterval(1e-5)
    _in_two_threads()
    before = _state()
    total = place = 0
    while total < count:
        sent = []
        trace = _opcode_tracer(place, sent, _ENDS.__contains__)
        arrived = _arrives(_in_two_threads, lambda: sys.settrace(trace), lambda: sys.settrace(None))  # noqa: B023
        _in_two_threads()
        _check_state(before, f"a call at once after place {place} of the ends, interrupt {total}")
        if arrived != bool(sent) or not (sent or place):
            sys.exit(f"place {place} of the ends: lost in {sent}")
        place = place + 1 if sent else 0
        total += len(sent)
    return total


def _at_random(count):
    rng = random.Random(0)
    total = left = 0

    def handle(*_):
        nonlocal left, total
        if left <= 1:  # Signals every 10 microseconds would keep the system busy, for nothing.
            signal.setitimer(signal.ITIMER_REAL, 0)
        if left > 0:
            left -= 1
            total += 1
            raise KeyboardInterrupt

    def install():
        nonlocal left
        left = rng.randint(1, 3)
        first, between = 10 ** rng.uniform(-4.5, -2), 10 ** rng.uniform(-5, -3)
        signal.setitimer(signal.ITIMER_REAL, first, between)

    signal.signal(signal.SIGALRM, handle)
    for call in _CALLS:
        call()  # imports are Python's own affair
    calls = itertools.cycle(_CALLS)
    while total < count:
        call = next(calls)
        before = _state()
        try:
            try:
                _arrives(call, install, lambda: None)
            finally:
                left = 0
        except KeyboardInterrupt:  # another, while the first was handled
            pass
        if rng.random() < 0.5:
            call()  # at once, whatever is still at work
        signal.setitimer(signal.ITIMER_REAL, 0)
        _check_state(before, f"{call.__name__}, signal {total}")
    return total


_WAYS = {
    "opcodes": lambda *numbers: _everywhere(sys.settrace, _opcode_tracer, *numbers),
    "events": lambda *numbers: _everywhere(sys.setprofile, _event_tracer, *numbers),
    "ends": _in_ends,
    "signals": _at_random,
}

if __name__ == "__main__":
    how, *numbers = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a parent may ignore
    sys.stdout.write(f"{_WAYS[how](*map(int, numbers))}\n")
