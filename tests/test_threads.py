"""Threads over blocks of NumPy rows: how many, and what they leave behind."""

from __future__ import annotations

import _thread
import contextlib
import os
import queue
import sys
import threading
import time
from unittest import mock

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import estep_xp as ex
from estep_xp.execution import check_options
from estep_xp.execution.numpy import driver, ops, threads
from estep_xp.execution.numpy.threads import in_order

MIXTURE = ex.Mixture(
    [0.4, 0.6], ex.DiagonalGaussian([[0.0, 0.0, 1.0], [3.0, 1.0, -1.0]], np.ones((2, 3)))
)


def rows(n):
    return np.random.default_rng(0).normal(size=(n, 3))


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def evaluate(action, n=4000, components=MIXTURE.components, **options):
    """Run an E-step that does something on the side once a block."""
    exp = ops.NumpyOps.exp_

    def spy(self, x, **options):
        action()
        return exp(self, x, **options)

    with mock.patch.object(ops.NumpyOps, "exp_", spy):
        return ex.e_step(rows(n), MIXTURE._replace(components=components), **options)


class Foreign:
    """Components by someone else."""

    def log_prob(self, x):
        return MIXTURE.components.log_prob(x)


@pytest.mark.parametrize("workers", [1, 2, 3, None])
def test_the_blas_is_held_to_one_thread_meanwhile(workers):
    before, seen = blas_threads(), []
    with mock.patch.object(driver, "_THREADED_ELEMENTS", 0):
        evaluate(lambda: seen.append(blas_threads()), workers=workers, block_size=500)
    assert before
    assert seen == [[1] * len(before)] * 8
    assert blas_threads() == before


@pytest.mark.parametrize("workers", [1, 2])
def test_numpy_settings_are_those_of_a_block_alone(workers):
    before, seen = (np.getbufsize(), np.geterr()), []
    evaluate(lambda: seen.append(np.getbufsize()), workers=workers, block_size=500)
    assert seen == [driver._BUFFER] * 8
    assert (np.getbufsize(), np.geterr()) == before


def test_the_blas_is_restored_when_an_exception_flies():
    before = blas_threads()

    def fail():
        raise ArithmeticError("in a block")

    with (
        mock.patch.object(driver, "_THREADED_ELEMENTS", 0),
        pytest.raises(ArithmeticError, match="in a block"),
    ):
        evaluate(fail, workers=2, block_size=500)
    assert blas_threads() == before


def threads_of(n, **options):
    """Names of the threads that evaluated blocks."""
    names = set()
    evaluate(lambda: names.add(threading.current_thread().name), n=n, **options)
    return names


def meeting(count, **options):
    """Those names, if as many blocks run at a time."""
    barrier, names = threading.Barrier(count, timeout=60), set()

    def meet():
        name = threading.current_thread().name
        if name not in names:
            names.add(name)
            barrier.wait()

    evaluate(meet, **options)
    return names


def test_code_by_others_runs_in_threads_only_if_asked_to():
    caller = {threading.current_thread().name}
    with mock.patch.object(driver, "_THREADED_ELEMENTS", 0):
        assert threads_of(4000, block_size=100, components=Foreign()) == caller
        names = meeting(2, n=4000, block_size=100, components=Foreign(), workers=2)
    assert len(names) == 2


@pytest.mark.parametrize("workers", [None, 1])
def test_few_rows_stay_in_the_thread_of_the_caller(workers):
    assert threads_of(2000, workers=workers) == {threading.current_thread().name}


def test_many_rows_use_all_threads_that_the_process_may_use():
    with (
        mock.patch.object(driver, "available_threads", return_value=3),
        mock.patch.object(driver, "_THREADED_ELEMENTS", 0),
    ):
        names = meeting(3, n=3000, block_size=1000)
    assert len(names) == 3
    assert threading.current_thread().name in names


@pytest.mark.parametrize("n", [3_000, 200_000, 400_000])
def test_sums_are_the_same_to_the_last_digit_with_fewer_processors(n):
    x, sums = rows(n), []
    for n_processors in (1, 2, 3):
        allowed = set(range(n_processors))
        with (
            mock.patch.object(os, "sched_getaffinity", return_value=allowed, create=True),
            mock.patch.object(driver, "_THREADED_ELEMENTS", 0),
        ):
            sums.append(ex.expected_statistics(x, MIXTURE))
    for one in sums[1:]:
        for first, other in zip(sums[0].moments, one.moments, strict=True):
            np.testing.assert_array_equal(first, other, strict=True)
        np.testing.assert_array_equal(sums[0].log_likelihood, one.log_likelihood)


def test_minus_one_means_the_processors_of_this_process():
    with mock.patch.object(os, "sched_getaffinity", return_value={0, 3, 7}, create=True):
        assert check_options(None, -1).workers == 3


def test_results_come_in_order_and_few_of_them_wait():
    begun, slow = [], threading.Event()

    def run(start):
        begun.append(start)
        if start == 0:
            assert slow.wait(60)
        elif len(begun) == 6:  # one is slow, five others are all that may begin before it ends
            slow.set()
        return -start

    results = []
    for result in in_order(run, range(50), 3):
        assert len(begun) <= len(results) + 6 + 3
        results.append(result)
    assert results == [-start for start in range(50)]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_first_error_by_row_is_raised_and_ends_all_threads(workers):
    def run(start):
        if start >= 5:
            raise ArithmeticError(f"in block {start}")

    before = threading.active_count()
    with pytest.raises(ArithmeticError, match="in block 5"):
        list(in_order(run, range(40), workers))
    assert threading.active_count() == before


class Limit:
    """Something to set as long as blocks are run, and who did it."""

    def __init__(self):
        self.begun, self.ended = [], []

    def begin(self):
        self.begun.append(threading.get_ident())

    def end(self):
        self.ended.append(threading.get_ident())


@pytest.mark.parametrize("workers", [1, 3])
def test_a_limit_ends_with_the_results(workers):
    limit, caller = Limit(), threading.get_ident()
    assert list(in_order(lambda start: start, range(40), workers, limit)) == list(range(40))
    assert (limit.begun, limit.ended) == ([caller], [caller])


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt])
def test_a_limit_ends_in_another_thread_when_an_exception_flies(workers, error):
    def run(start):
        if start == 7:
            raise error

    limit = Limit()
    with pytest.raises(error):
        list(in_order(run, range(40), workers, limit))
    assert limit.ended
    assert threading.get_ident() not in limit.ended


class Interrupted:
    """A limit whose end is interrupted in the main thread, and takes its time in others."""

    def __init__(self):
        self.under_way = self.most = 0
        self.ends = queue.SimpleQueue()

    def begin(self):
        pass

    def end(self):
        if threading.get_ident() == threading.main_thread().ident:
            raise KeyboardInterrupt
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        time.sleep(0.05)
        self.under_way -= 1
        self.ends.put(None)


def test_after_an_interrupt_of_the_end_the_caller_waits_for_another():
    limit = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        list(in_order(lambda start: start, range(40), 2, limit))
    assert limit.ends.qsize() == 1


def test_a_limit_ends_once_at_a_time_when_an_interrupt_comes_upon_another(monkeypatch):
    def start_and_be_interrupted(*arguments):
        _thread.start_new_thread(*arguments)
        raise KeyboardInterrupt

    def run(_):
        monkeypatch.setattr(threads, "start_new_thread", start_and_be_interrupted)

    limit = Interrupted()
    with contextlib.suppress(KeyboardInterrupt):  # and its frames are freed, which ends once more
        list(in_order(run, range(1), 1, limit))
    for _ in range(2):
        limit.ends.get(timeout=5)
    assert limit.most == 1


def test_a_third_interrupt_finds_no_place_where_frames_are_freed(monkeypatch):
    def interrupt(frame, event, _):
        if event == "call" and frame.f_code.co_filename == threads.__file__:
            raise KeyboardInterrupt

    def run(_):
        start = mock.Mock(side_effect=KeyboardInterrupt)
        monkeypatch.setattr(threads, "start_new_thread", start)

    limit, profile = Interrupted(), sys.getprofile()
    frames = None
    try:
        list(in_order(run, range(1), 1, limit))
    except KeyboardInterrupt as error:
        frames = error
    sys.setprofile(interrupt)
    try:
        del frames
    finally:
        sys.setprofile(profile)
    limit.ends.get(timeout=5)


def test_a_limit_ends_when_nobody_wants_results():
    limit, before = Limit(), threading.active_count()
    results = in_order(lambda start: start, range(1000), 3, limit)
    next(results)
    assert limit.ended == []
    del results
    assert limit.ended
    assert threading.active_count() == before


@pytest.mark.parametrize("fails", [False, True])
def test_without_threads_to_be_had_the_caller_does_it_all(fails):
    def run(start):
        if fails and start == 7:
            raise ArithmeticError
        return start

    limit, error = Limit(), RuntimeError("can't start new thread")
    with mock.patch.object(threads, "start_new_thread", side_effect=error):
        results = in_order(run, range(40), 3, limit)
        if fails:
            with pytest.raises(ArithmeticError):
                list(results)
        else:
            assert list(results) == list(range(40))
    assert limit.ended == [threading.get_ident()]


def test_an_interrupt_does_not_wait_for_its_turn():
    slow = threading.Event()

    def run(start):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        assert slow.wait(60)
        return start

    results = in_order(run, range(40), 2)
    timer = threading.Timer(0.5, slow.set)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        next(results)
    timer.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_stop_iteration_of_a_block_does_not_end_the_results(workers):
    def run(start):
        if start == 5:
            raise StopIteration

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(in_order(run, range(40), workers))


def test_no_block_begins_once_nobody_wants_results():
    before, begun = threading.active_count(), []
    results = in_order(begun.append, range(1000), 3)
    next(results)
    results.close()
    assert len(begun) < 20
    assert threading.active_count() == before


@pytest.mark.parametrize("function", [ex.e_step, ex.log_joint, ex.expected_statistics])
def test_threads_change_no_digit(function):
    x = rows(20_000)
    one, two = (function(x, MIXTURE, workers=workers) for workers in (1, 2))
    for a, b in zip(leaves(one), leaves(two), strict=True):
        np.testing.assert_array_equal(a, b)


def leaves(value):
    if isinstance(value, tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]
