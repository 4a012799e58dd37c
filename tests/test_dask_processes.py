"""Dask with rows beyond memory, and in several processes, which may die."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import estep_xp as ex
from tests.chunks import D, assert_same_fit, chunked, cut_short, mixture_of, rows_of

dask = pytest.importorskip("dask", reason="dask is not installed")
da = pytest.importorskip("dask.array", reason="dask.array is not installed")


# Rows beyond memory.

PEAK = """
import numpy as np
from tests import test_dask_processes

test_dask_processes.peak_of_one_step({n_rows}, {scheduler!r})
"""


def peak_of_one_step(n_rows: int, scheduler: str) -> None:
    """Print by how many bytes one EM step over rows made as they are needed raises the peak."""

    def step(n: int) -> ex.Mixture:
        rows = da.random.default_rng(0).normal(size=(n, D), chunks=(250_000, D))
        with dask.config.set(scheduler=scheduler):
            return dask.compute(ex.m_step(ex.expected_statistics(rows, mixture_of())))[0]

    def peak() -> int:
        # Not getrusage: a process starts with the peak of the one that started it.
        (line,) = [
            line
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("VmHWM:")
        ]
        return 1024 * int(line.split()[1])

    step(500_000)  # threads, their buffers, what is imported late
    before = peak()
    mixture = step(n_rows)
    print(peak() - before, *(mixture.weights @ mixture.components.means))  # noqa: T201


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_rows_beyond_memory(scheduler):
    """Eight million rows, 256 MB, pass through an EM step in a small part of that."""
    n_rows = 8_000_000
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PEAK.format(n_rows=n_rows, scheduler=scheduler)],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    growth, *mean = map(float, done.stdout.split())
    assert growth < 60e6
    # The mean of all components is that of the rows, within five standard errors.
    np.testing.assert_allclose(mean, 0, atol=5 / np.sqrt(n_rows))


# Several processes, which may die.


@pytest.fixture(scope="module")
def client():
    """Two worker processes of this machine, each under a nanny that starts it anew."""
    distributed = pytest.importorskip("distributed", reason="distributed is not installed")
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")
    patience = {
        "distributed.comm.timeouts.connect": "180s",
        "distributed.comm.timeouts.tcp": "180s",
    }
    with dask.config.set(patience):
        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        )
        with cluster, distributed.Client(cluster) as client:
            yield client
            pids = pids_of(client)
    assert not any(map(psutil.pid_exists, pids))


def pids_of(client: Any) -> list[int]:
    """Process ids of the workers that this cluster has started."""
    return [nanny.pid for nanny in client.cluster.workers.values()]


@cut_short
def test_fit_in_several_processes(client, tmp_path):
    x, mixture = rows_of(), mixture_of()

    def signed(block: np.ndarray) -> np.ndarray:
        (tmp_path / str(os.getpid())).touch()
        return block

    rows = chunked(x, 100).map_blocks(signed, dtype=x.dtype, meta=x[:0])
    assert_same_fit(ex.fit(rows, mixture, max_iter=6), ex.fit(x, mixture, max_iter=6))
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == sorted(pids_of(client))


@cut_short
def test_fit_survives_a_worker_killed_between_iterations(client):
    """Its chunks, which it held in memory, are made again."""
    import distributed
    import psutil

    x, mixture = rows_of(), mixture_of()
    rows = chunked(x, 100).persist()
    distributed.wait(rows)
    pids, held = client.run(os.getpid), client.has_what()
    victim = pids[max(held, key=lambda address: len(held[address]))]
    assert victim in pids_of(client)

    def kill(result: ex.EMResult) -> None:
        if result.n_iter == 2:
            psutil.Process(victim).kill()

    result = ex.fit(rows, mixture, max_iter=6, callback=kill)
    assert_same_fit(result, ex.fit(x, mixture, max_iter=6))
    client.wait_for_workers(2, timeout=180)
    assert set(pids_of(client)) & set(pids.values()) == set(pids.values()) - {victim}


@cut_short
def test_fit_survives_a_worker_that_dies_within_an_e_step(client, tmp_path):
    x, mixture = rows_of(), mixture_of()
    poison, parent = tmp_path / "poison", os.getpid()

    def deadly(block: np.ndarray) -> np.ndarray:
        """A worker that finds the poison takes it and dies."""
        try:
            poison.unlink()
        except FileNotFoundError:
            return block
        assert os.getpid() != parent
        os._exit(1)

    def lay_poison(result: ex.EMResult) -> None:
        if result.n_iter == 2:
            poison.touch()

    rows = chunked(x, 100).map_blocks(deadly, dtype=x.dtype, meta=x[:0])
    before = pids_of(client)
    result = ex.fit(rows, mixture, max_iter=6, callback=lay_poison)
    assert not poison.exists()
    assert_same_fit(result, ex.fit(x, mixture, max_iter=6))
    client.wait_for_workers(2, timeout=180)
    assert len(set(before) & set(pids_of(client))) == 1
