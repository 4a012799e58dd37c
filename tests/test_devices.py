"""JAX on several devices and in several processes: rows stay where they are, sums meet once.

The devices are parts of one CPU, and how many there are is fixed when JAX starts: each test calls a
function from the end of this file in a process of its own. There are few tests, since XLA takes
long to compile for eight devices: what families don't differ in is looked at for one of them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import estep_xp as ex
from tests.backends import BACKENDS, Backend
from tests.quick_xla import quick_environment
from tests.records import DIAGONAL, FULL, TIED, UNIVARIATE, Record, normalised, problem

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="jax is not installed"
)

K, D = 3, 2
PER_DEVICE = 67  # of no block's length a multiple:
BLOCK = 16
TIMEOUT = 300  # seconds; a few when the machine is idle


# The tests.


def test_rows_over_eight_devices():
    finish(start(eight_devices, devices=8))


def test_rows_over_some_devices():
    finish(start(some_devices, devices=8))


def test_sequences_over_eight_devices():
    finish(start(sequences_over_devices, devices=8))


def test_two_processes():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    finish(*(start(one_of_two_processes, address, rank, devices=2) for rank in (0, 1)))


@contextlib.contextmanager
def cut_short() -> Iterator[None]:
    """So many iterations are asked for, and no more."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ex.ConvergenceWarning)
        yield


def start(function: Callable[..., None], *arguments: Any, devices: int) -> subprocess.Popen[str]:
    """Call a function of this file in another process, with so many devices, warnings as errors."""
    call = f"from {__name__} import called; called({function.__name__!r}, *{arguments!r})"
    settings = {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_X64": "1",
        # Compiled quickly: who exchanges what with whom is settled before it optimises.
        **quick_environment(f"--xla_force_host_platform_device_count={devices}"),
    }
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", call],
        cwd=Path(__file__).parent.parent,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(*processes: subprocess.Popen[str]) -> None:
    """Wait until all have come to a good end."""
    try:
        for process in processes:
            output, _ = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()
            process.communicate()


# What they share.


def mixtures_of(record: Record) -> tuple[ex.Mixture, ex.Mixture]:
    """The same mixture in NumPy and in JAX."""
    one = problem(record, k=K, d=D)
    return one.mixture(Backend()), one.mixture(BACKENDS["jax"])


def weights_of(n: int) -> np.ndarray:
    weight = np.random.default_rng(n).uniform(0, 2, n)
    weight[::7] = 0.0
    return weight


def by_rows(n_devices: int) -> Any:
    """Sharding of rows over the first devices."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.asarray(jax.devices()[:n_devices]), ("rows",))
    return NamedSharding(mesh, PartitionSpec("rows"))


def sharded(array: np.ndarray, n_devices: int = 8) -> Any:
    import jax

    return jax.device_put(array, by_rows(n_devices))


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Any, list[str]]:
    """Result of a compiled program, and its operations by which devices exchange numbers."""
    import jax

    program = jax.jit(function).lower(*arguments).compile()
    operations = (
        "all-gather|all-reduce|all-to-all|collective-broadcast|collective-permute|ragged-all-to-all|"
        "recv|reduce-scatter|send"
    )
    text = program.as_text()
    assert "ENTRY" in text
    result = jax.block_until_ready(program(*arguments))
    return result, re.findall(rf" ({operations})(?:-start)?\(", text)


def assert_same(actual: Any, expected: Any, rtol: float = 1e-11, atol: float = 1e-9) -> None:
    """Assert that records hold the same numbers; sums were added up in another order."""
    if isinstance(expected, tuple):
        for one, other in zip(actual, expected, strict=True):
            assert_same(one, other, rtol, atol)
    else:
        np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


def assert_same_fit(actual: ex.EMResult, expected: ex.EMResult) -> None:
    assert (int(actual.n_iter), bool(actual.converged)) == (expected.n_iter, expected.converged)
    # An iteration hands its rounding on to the next.
    assert_same(actual, expected, rtol=1e-8, atol=1e-8)


# What runs elsewhere.


def called(name: str, *arguments: Any) -> None:
    import jax

    # One program at a time: where devices outnumber cores, two of them could wait for ever, each
    # for devices that the other has.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    globals()[name](*arguments)


def statistics(x: Any, mixture: ex.Mixture, sample_weight: Any = None) -> ex.Statistics:
    return ex.expected_statistics(x, mixture, sample_weight=sample_weight, block_size=BLOCK)


def eight_devices() -> None:
    import jax

    assert len(by_rows(8).device_set) == jax.device_count() == 8
    for record in (UNIVARIATE, TIED, FULL):  # rows (n,), a shared moment, one for each component
        check_exchanges(record)
    check_all_results(FULL)


def check_exchanges(record: Record) -> None:
    """Numbers of rows are computed where the row lies, and sums take a single exchange."""
    plain, mixture = mixtures_of(record)
    rows = record.data(7, 8 * PER_DEVICE, D)
    x, weight = sharded(rows), weights_of(len(rows))
    estep, moved = compiled(ex.e_step, x, mixture)
    assert moved == []
    assert_lies_by_rows(*estep)
    _, _, weights, params = problem(record, k=K, d=D)
    assert_same(estep, normalised(record.log_joint(rows, weights, params)))

    sums, moved = compiled(statistics, x, mixture, sharded(weight))
    assert moved == ["all-reduce"], moved
    assert sums.counts.sharding.is_fully_replicated
    assert_same(sums, statistics(rows, plain, weight))


def assert_lies_by_rows(*arrays: Any) -> None:
    for array in arrays:
        assert array.sharding.is_equivalent_to(by_rows(8), array.ndim), array.sharding
        assert [shard.data.shape[0] for shard in array.addressable_shards] == 8 * [PER_DEVICE]


def check_all_results(record: Record) -> None:
    """Eager calls, the log-joint, sums without weights of rows, and a fit."""
    plain, mixture = mixtures_of(record)
    rows = record.data(7, 8 * PER_DEVICE, D)
    x = sharded(rows)
    joint, moved = compiled(ex.log_joint, x, mixture)
    assert moved == []
    estep = ex.e_step(x, mixture)
    assert_lies_by_rows(*estep, estep.labels, joint)
    _, _, weights, params = problem(record, k=K, d=D)
    reference = record.log_joint(rows, weights, params)
    assert_same(joint, reference)
    assert_same(estep, normalised(reference))

    for function in (statistics, ex.log_likelihood):
        result, moved = compiled(function, x, mixture)
        assert moved == ["all-reduce"], moved
        assert_same(result, function(rows, plain))
    with cut_short():
        assert_same_fit(ex.fit(x, mixture, max_iter=8), ex.fit(rows, plain, max_iter=8))


def some_devices() -> None:
    """Rows need not lie on all devices, nor in their order, nor along one axis of a mesh."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    record = DIAGONAL
    plain, mixture = mixtures_of(record)
    rows = record.data(7, 8 * PER_DEVICE, D)
    grid = Mesh(np.asarray(jax.devices())[::-1].reshape(4, 2), ("a", "b"))
    for sharding in (
        by_rows(4),
        NamedSharding(grid, PartitionSpec("a")),  # each row on two devices
        NamedSharding(grid, PartitionSpec(("b", "a"))),
    ):
        x = jax.device_put(rows, sharding)
        estep, moved = compiled(ex.e_step, x, mixture)
        assert moved == []
        assert estep.responsibilities.sharding.is_equivalent_to(sharding, 2)
        sums, moved = compiled(statistics, x, mixture)
        assert moved == ["all-reduce"], moved
        assert_same(sums, statistics(rows, plain))

    # A number of devices that divides no power of two: known where the rows lie here and now.
    x = jax.device_put(rows[: 3 * PER_DEVICE], by_rows(3))
    assert_same(statistics(x, mixture), statistics(rows[: 3 * PER_DEVICE], plain))


def sequences_over_devices() -> None:
    """Sequences of one length, a batch of them: each stays where it lies, sums meet once."""
    import jax

    rows = np.random.default_rng(1).normal(size=(8, 20))
    components = ex.UnivariateGaussian(np.asarray([-1.0, 1.0]), np.asarray([1.0, 2.0]))
    plain = ex.HMM(np.asarray([0.5, 0.5]), np.asarray([[0.9, 0.1], [0.2, 0.8]]), components)
    hmm = jax.tree.map(jax.numpy.asarray, plain)

    def each(x: Any) -> Any:
        return jax.vmap(lambda one: ex.expected_statistics(one, hmm))(x)

    def together(x: Any) -> Any:
        return jax.tree.map(lambda sums: sums.sum(axis=0), each(x))._replace(mixture=hmm)

    x = sharded(rows)
    assert compiled(each, x)[1] == []
    sums, moved = compiled(together, x)
    assert set(moved) == {"all-reduce"}, moved
    whole = ex.expected_statistics(rows.reshape(-1), plain, lengths=[20] * 8)
    assert_same(sums, whole)
    assert_same(jax.jit(ex.m_step)(sums), ex.m_step(whole))


def one_of_two_processes(address: str, rank: int) -> None:
    """Each process makes half of the rows; both find what NumPy finds with all of them."""
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(address, num_processes=2, process_id=rank)
    assert (jax.process_count(), jax.device_count(), jax.local_device_count()) == (2, 4, 2)
    plain, mixture = mixtures_of(DIAGONAL)
    rows = DIAGONAL.data(7, 4 * PER_DEVICE, D)

    def shared(array: np.ndarray) -> Any:
        half = np.split(array, 2)[rank]
        return jax.make_array_from_process_local_data(by_rows(4), half)

    x = shared(rows)
    assert x.shape == rows.shape
    assert not x.is_fully_addressable

    estep, whole = ex.e_step(x, mixture), ex.e_step(rows, plain)
    for mine, everyone in zip(estep, whole, strict=True):
        assert len(mine.addressable_shards) == 2
        for shard in mine.addressable_shards:
            assert_same(shard.data, everyone[shard.index])
    assert_same(estep.total_log_likelihood, whole.total_log_likelihood)
    sums, moved = compiled(statistics, x, mixture)
    assert moved == ["all-reduce"], moved
    assert_same(sums, statistics(rows, plain))

    here = weights_of(len(rows))
    there = shared(here)
    total = ex.log_likelihood(x, mixture, sample_weight=there)
    assert_same(total, ex.log_likelihood(rows, plain, sample_weight=here))
    assert_same(statistics(x, mixture, there), statistics(rows, plain, here))
    with cut_short():
        result = ex.fit(x, mixture, sample_weight=there, max_iter=8)
        assert_same_fit(result, ex.fit(rows, plain, sample_weight=here, max_iter=8))
    jax.distributed.shutdown()
