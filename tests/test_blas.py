"""Threads of the BLAS, held to one meanwhile: as if the calls had not been."""

from __future__ import annotations

import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

import estep_xp as ex
from estep_xp.execution.numpy import blas, driver
from estep_xp.execution.numpy.blas import OneThread, on_one_thread

MIXTURE = ex.Mixture([0.4, 0.6], ex.FullGaussian(np.zeros((2, 3)), np.stack([np.eye(3)] * 2)))


def in_another_thread(function, *arguments):
    with ThreadPoolExecutor(1) as other:
        return other.submit(function, *arguments).result()


@pytest.fixture
def library(monkeypatch):
    """A library whose number of threads, 4, is a setting of the whole process."""
    state = SimpleNamespace(threads=4)
    shared = blas._Library(lambda: state.threads, functools.partial(setattr, state, "threads"))
    monkeypatch.setattr(blas, "_libraries", lambda: blas._Libraries([shared], []))
    yield state
    assert (blas._turn, blas._holders, blas._before) == ({}, set(), {})


@pytest.mark.parametrize("first", [0, 1])
def test_of_calls_that_overlap_the_last_restores_the_number(library, first):
    calls = OneThread(), OneThread()
    calls[0].begin()
    in_another_thread(calls[1].begin)
    calls[first].end()
    assert library.threads == 1
    calls[1 - first].end()
    assert library.threads == 4


def test_what_others_have_set_meanwhile_stays(library):
    call = OneThread()
    call.begin()
    library.threads = 3
    call.end()
    assert library.threads == 3


def test_a_limit_that_ended_meanwhile_does_not_come_back(library):
    library.threads = 1
    call = OneThread()
    call.begin()
    library.threads = 4
    call.end()
    assert library.threads == 4


def test_a_call_goes_on_with_the_end_that_an_interrupt_has_left(library, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    call = OneThread()
    call.begin()
    with monkeypatch.context() as patch:
        patch.setattr(blas, "_restore", interrupt)
        with pytest.raises(KeyboardInterrupt):
            call.end()
    in_another_thread(call.end)
    assert library.threads == 4
    call.end()
    assert library.threads == 4


def test_a_call_that_never_ends_its_turn_hangs_no_other(library, monkeypatch):
    monkeypatch.setattr(blas, "_PATIENCE", 0.01)
    blas._turn["holder"] = OneThread()
    call = OneThread()
    call.begin()
    assert library.threads == 1
    call.end()
    assert library.threads == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")
def test_a_forked_process_has_all_threads(library):
    call = OneThread()
    call.begin()
    child = os.fork()
    if child == 0:
        os._exit(library.threads)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert library.threads == 1
    call.end()


@pytest.mark.parametrize("exchanges", [False, True])
def test_where_each_thread_has_its_own_number_all_are_held(monkeypatch, exchanges):
    own = threading.local()

    def put(threads):
        before, own.threads = get(), threads
        return before

    def get():
        return getattr(own, "threads", 4)

    one = blas._Library(get, put, exchanges)
    monkeypatch.setattr(blas, "_libraries", lambda: blas._Libraries([], [one, one]))
    monkeypatch.setattr(driver, "_THREADED_ELEMENTS", 0)
    seen, barrier = set(), threading.Barrier(2, timeout=60)

    class Components:
        def log_prob(self, x):
            thread = threading.get_ident()
            if thread not in {each for each, _ in seen}:
                seen.add((thread, get()))
                barrier.wait()
            return MIXTURE.components.log_prob(x)

    x = np.zeros((4000, 3))
    ex.e_step(x, MIXTURE._replace(components=Components()), workers=2, block_size=100)
    assert [threads for _, threads in seen] == [1, 1]
    assert get() == 4
    with pytest.raises(ZeroDivisionError):
        on_one_thread(lambda: 1 / 0)
    assert get() == 4


@pytest.fixture
def openblas():
    """NumPy's OpenBLAS with three threads, and nobody who controls it."""
    for controller in ThreadpoolController().lib_controllers:
        if controller.internal_api == "openblas" and controller.threading_layer == "pthreads":
            break
    else:
        pytest.skip("NumPy has another BLAS")
    name = next(name for name in controller.check_symbols if hasattr(controller.dynlib, name))
    put, before = getattr(controller.dynlib, name.replace("_get_", "_set_")), controller.num_threads
    put(3)
    yield controller
    put(before)


ROWS = np.random.default_rng(0).normal(size=(100_000, 3))


def test_plain_calls_on_a_pool_leave_the_number_that_there_was(openblas):
    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(ex.e_step, ROWS[i * 5000 :], MIXTURE) for i in range(12)]:
            job.result()
        assert openblas.num_threads == 3


def test_after_a_call_in_another_thread_limits_of_the_caller_work(openblas):
    with ThreadPoolExecutor(1) as other:
        other.submit(ex.e_step, ROWS, MIXTURE).result()
        with threadpool_limits(2):
            assert openblas.num_threads == 2
            ex.e_step(ROWS, MIXTURE)
            other.submit(ex.e_step, ROWS, MIXTURE).result()
            assert openblas.num_threads == 2
        assert openblas.num_threads == 3


def test_a_callers_limit_may_end_during_a_call(openblas, monkeypatch):
    monkeypatch.setattr(driver, "_THREADED_ELEMENTS", 0)
    begun, ended = threading.Event(), threading.Event()

    class Components:
        def log_prob(self, x):
            begun.set()
            assert ended.wait(60)
            return MIXTURE.components.log_prob(x)

    with ThreadPoolExecutor(1) as other:
        with threadpool_limits(1):
            job = other.submit(ex.e_step, ROWS, MIXTURE._replace(components=Components()))
            assert begun.wait(60)
        ended.set()
        job.result()
        assert openblas.num_threads == 3
