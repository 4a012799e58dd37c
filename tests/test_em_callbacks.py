"""What looks at a fit or ends it: callbacks, Ctrl-C and the progress bar."""

from __future__ import annotations

import signal
import sys

import numpy as np
import pytest

import estep_xp as ex
from tests.fits import N, assert_same_fit, cut_short, fit
from tests.records import UNIVARIATE, problem
from tests.samples import SAMPLES


def test_the_callback_sees_every_iteration():
    seen = []
    sample = SAMPLES[0]
    result = ex.fit(sample.x, sample.start(), callback=seen.append)
    assert [one.n_iter for one in seen] == list(range(1, result.n_iter + 1))
    assert [one.converged for one in seen] == [False] * (result.n_iter - 1) + [True]
    for one in seen:
        np.testing.assert_array_equal(one.history, result.history[: one.n_iter])
        assert one.log_likelihood == result.history[one.n_iter - 1]
        total = ex.log_likelihood(sample.x, one.mixture)
        np.testing.assert_allclose(one.log_likelihood, total, rtol=1e-13)


@cut_short
@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt])
@pytest.mark.parametrize("n_init", [1, 3])
def test_an_interrupted_fit_gives_the_last_whole_iteration(error, n_init):
    """Of the start it was at, without trying the others."""
    sample = SAMPLES[0]
    calls = []

    def interrupt(result):
        calls.append(result)
        if len(calls) == 4:
            raise error

    options = {"tol": 0.0, "max_iter": 50}
    result = ex.fit(sample.x, sample.start(), callback=interrupt, n_init=n_init, **options)
    assert len(calls) == 4
    assert_same_fit(result, ex.fit(sample.x, sample.start(), tol=0.0, max_iter=4), rtol=0)


def test_ctrl_c_in_the_middle_of_an_iteration():
    """The signal comes half-way through an E-step; what it had done is lost, and no more."""
    x = np.random.default_rng(2).standard_normal((200_000, 4))
    start = ex.initialize(x[:1000], 8, ex.DiagonalGaussian, seed=0)
    calls = []

    def alarm(result):
        calls.append(result)
        if len(calls) == 2:
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        result = ex.fit(x, start, tol=0.0, max_iter=1000, callback=alarm)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert result.n_iter == len(calls) < 1000
    assert not result.converged
    assert result.history.shape == (result.n_iter,)
    assert result.history[-1] == result.log_likelihood
    np.testing.assert_allclose(
        result.log_likelihood, ex.log_likelihood(x, result.mixture), rtol=1e-12
    )


def test_other_errors_of_a_callback_come_through():
    def broken(_):
        raise ZeroDivisionError

    sample = SAMPLES[0]
    with pytest.raises(ZeroDivisionError):
        ex.fit(sample.x, sample.start(), callback=broken)


@pytest.mark.parametrize("n_init", [1, 2])
def test_the_progress_bar(capsys, n_init):
    """On standard error, with the log-likelihood; the result is the same."""
    sample = SAMPLES[0]
    result = ex.fit(sample.x, sample.start(), progress=True, n_init=n_init, max_iter=50)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "log-likelihood" in captured.err
    assert "/50" in captured.err
    if n_init == 1:
        assert f"{float(result.log_likelihood):.6f}" in captured.err
    else:
        assert "start 2 of 2" in captured.err
    plain = ex.fit(sample.x, sample.start(), n_init=n_init, max_iter=50)
    assert_same_fit(result, plain, rtol=0)


def test_the_progress_bar_goes_away_with_an_error(capsys):
    x = np.array([0.0, 1.0, 1e200])
    start = ex.Mixture([0.5, 0.5], ex.UnivariateGaussian([0.0, 1.0], [1.0, 1.0]))
    with pytest.raises(ValueError, match="zero density"):
        ex.fit(x, start, progress=True)
    capsys.readouterr()
    sample = SAMPLES[0]
    ex.fit(sample.x, sample.start(), progress=True)
    assert "log-likelihood" in capsys.readouterr().err


def test_progress_needs_rich(monkeypatch):
    for name in [*(name for name in sys.modules if name.partition(".")[0] == "rich"), "rich"]:
        monkeypatch.setitem(sys.modules, name, None)
    sample = SAMPLES[0]
    with pytest.raises(ImportError, match=r"progress=True needs rich.*estep_xp\[cli\]"):
        ex.fit(sample.x, sample.start(), progress=True)


@pytest.mark.backends("jax_jit")
@pytest.mark.parametrize(
    "option", [{"callback": print}, {"progress": True}], ids=["callback", "progress"]
)
def test_callback_and_progress_are_refused_under_jit(backend, option):
    with pytest.raises(TypeError, match=r"callback and progress .*jit"):
        fit(backend, problem(UNIVARIATE, n=N), max_iter=5, **option)
