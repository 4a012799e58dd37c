"""EM on rows that need not fit in memory: a file of them, then a Dask array over the same file."""

import tempfile
import tracemalloc
from pathlib import Path

import dask.array as da
import numpy as np
from numpy.lib.format import open_memmap

import estep_xp as ex

N_ROWS, N_FEATURES = 2_000_000, 4  # 64 MB; ten times as many rows take no more memory
CHUNK = 250_000  # rows written, or read by a task of Dask, at a time: 8 MB


def write(path):
    """Write two clouds of points to a file, chunk by chunk: one in three is the far one's."""
    rows = open_memmap(path, mode="w+", dtype="float64", shape=(N_ROWS, N_FEATURES))
    for start in range(0, N_ROWS, CHUNK):
        random = np.random.default_rng([0, start])
        chunk = rows[start : start + CHUNK]  # a view: what it is given goes to the file
        chunk[:] = random.standard_normal(chunk.shape)
        chunk[random.random(len(chunk)) < 1 / 3] += [5.0, 5.0, 0.0, 0.0]


def measured(function, *arguments):
    """Result of a call, and how many megabytes of arrays it held at most.

    The pages of the file are not among them: the system keeps some at hand, and drops them when
    memory is short.
    """
    tracemalloc.start()
    result = function(*arguments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return result, peak / 1e6


def report(name, result, megabytes):
    """Print what was fitted and what it took."""
    print(f"{name}: log-likelihood {result.log_likelihood:.4f} after {result.n_iter} iterations")
    print(f"{name}: weights", *(f"{weight:.6f}" for weight in result.mixture.weights))
    first_feature = result.mixture.components.means[:, 0]
    print(f"{name}: means of the first feature", *(f"{mean:.6f}" for mean in first_feature))
    print(f"{name}: at most {megabytes:.0f} MB of arrays")


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "rows.npy"
    write(path)
    print(f"data: {path.stat().st_size / 1e6:.0f} MB on disk")

    # A memory map is an array like any other; its blocks are read when their turn comes.
    rows = np.load(path, mmap_mode="r")
    start = ex.initialize(rows[:10_000], 2, ex.FullGaussian, seed=0)
    statistics, megabytes = measured(ex.expected_statistics, rows, start)
    print(f"statistics: {statistics.n_rows:.0f} rows, at most {megabytes:.0f} MB of arrays")
    report("memory map", *measured(ex.fit, rows, start))

    # Dask works on several chunks at once, on this machine or, with a distributed client, on many.
    lazy = da.from_array(rows, chunks=(CHUNK, N_FEATURES))
    report("dask", *measured(ex.fit, lazy, start))
    del rows, lazy  # some systems delete no file that is mapped
