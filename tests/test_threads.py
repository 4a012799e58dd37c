"""Threads over blocks of NumPy rows: how many, and what they leave behind."""

from __future__ import annotations

import threading
from unittest import mock

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import estep_xp as ex
from estep_xp.execution import _blas, _numpy, _options

MIXTURE = ex.Mixture(
    [0.4, 0.6], ex.DiagonalGaussian([[0.0, 0.0, 1.0], [3.0, 1.0, -1.0]], np.ones((2, 3)))
)


def rows(n):
    return np.random.default_rng(0).normal(size=(n, 3))


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def evaluate(action, n=4000, components=MIXTURE.components, **options):
    """Run an E-step that does something on the side once a block."""
    exp = _numpy.NumpyPlan.exp

    def spy(plan, x, **options):
        action()
        return exp(plan, x, **options)

    with mock.patch.object(_numpy.NumpyPlan, "exp", spy):
        return ex.e_step(rows(n), MIXTURE._replace(components=components), **options)


class Foreign:
    """Components by someone else."""

    def log_prob(self, x):
        return MIXTURE.components.log_prob(x)


@pytest.mark.parametrize("workers", [1, 2, 3, None])
def test_the_blas_is_held_to_one_thread_meanwhile(workers):
    before, seen = blas_threads(), []
    with mock.patch.object(_numpy, "_THREADED_NUMBERS", 0):
        evaluate(lambda: seen.append(blas_threads()), workers=workers, block_size=500)
    assert before
    assert seen == [[1] * len(before)] * 8
    assert blas_threads() == before


def test_the_blas_is_restored_when_an_exception_flies():
    before = blas_threads()

    def fail():
        raise ArithmeticError("in a block")

    with (
        mock.patch.object(_numpy, "_THREADED_NUMBERS", 0),
        pytest.raises(ArithmeticError, match="in a block"),
    ):
        evaluate(fail, workers=2, block_size=500)
    assert blas_threads() == before


def test_of_calls_that_overlap_the_last_restores_the_blas():
    before = blas_threads()
    with _blas.one_thread():
        other = threading.Thread(target=lambda: evaluate(lambda: None, workers=2, block_size=500))
        other.start()
        other.join()
        assert blas_threads() == [1] * len(before)
    assert blas_threads() == before


def threads_of(n, **options):
    """Names of the threads that evaluated blocks."""
    names = set()
    evaluate(lambda: names.add(threading.current_thread().name), n=n, **options)
    return names


def test_code_by_others_runs_in_threads_only_if_asked_to():
    caller = {threading.current_thread().name}
    with mock.patch.object(_numpy, "_THREADED_NUMBERS", 0):
        assert threads_of(4000, block_size=100, components=Foreign()) == caller
        names = threads_of(4000, block_size=100, components=Foreign(), workers=2)
    assert not names & caller


@pytest.mark.parametrize("workers", [None, 1])
def test_few_rows_stay_in_the_thread_of_the_caller(workers):
    assert threads_of(2000, workers=workers) == {threading.current_thread().name}


def test_many_rows_use_all_threads_that_the_process_may_use():
    barrier = threading.Barrier(3, timeout=60)  # passes only if three blocks run at a time
    names = set()

    def meet():
        if len(names) < 3:
            barrier.wait()
        names.add(threading.current_thread().name)

    with (
        mock.patch.object(_numpy, "available_threads", return_value=3),
        mock.patch.object(_numpy, "_THREADED_NUMBERS", 0),
    ):
        evaluate(meet, n=3000, block_size=1000)
    assert len(names) == 3
    assert threading.current_thread().name not in names


def test_minus_one_means_the_processors_of_this_process():
    with mock.patch.object(_options.os, "sched_getaffinity", return_value={0, 3, 7}, create=True):
        assert _options.options(None, -1).workers == 3


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
