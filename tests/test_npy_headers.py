"""Headers of .npy files and archives: checked against what is there before room is made for it."""

from __future__ import annotations

import io
import os
import resource
import struct
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.column_files import A, B, fit, run
from tests.commands import COMMAND, ENVIRONMENT, assert_refused

# JAX, which other tests have imported, warns of the fork that a limit of a child's resources takes.
pytestmark = [
    pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ROOM = 1 << 32  # bytes of address space; the command needs less than half of it


def npy(shape, data=b"", *, fortran=False, descr="'<f8'", version=1):
    """Return the bytes of a .npy file whose header says what it is told."""
    header = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header.encode() + data


def npz(content, *, declared=None):
    """Return the bytes of an archive that says of its member's size what it is told."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", content)
    content_of_archive = file.getvalue()
    if declared is not None:
        honest = struct.pack("<I", len(content))
        content_of_archive = content_of_archive.replace(honest, struct.pack("<I", declared))
    return content_of_archive


def write_model():
    Path("m.json").write_text(
        '{"family": "diagonal", "weights": [1], "means": [[0, 0]], "covariances": [[1, 1]]}'
    )


def run_confined(*arguments, open_files=None):
    """Run the command with little memory and little time; return code, output and errors."""

    def confine():
        resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
        if open_files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))

    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=ENVIRONMENT | {"OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=confine,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


SHAPES = [
    "(1, 1000000000)",
    "(1000000000, 1)",
    "(10000000000000,)",
    "(2, 9223372036854775807)",
    "(1000000000000, 1000000000000)",
    "(True, 2)",
    "(2, False)",
    "(18446744073709551617, 2)",
    "(2, 18446744073709551617)",
    "(18446744073709551617,)",
    "(0, 10000000000)",
    "(0, 18446744073709551617)",
    "(10000000000, 0)",
    "(-1, 2)",
    "(-1, -2)",
    "(2.0, 2)",
    "(None, 2)",
    "('2', 2)",
    "2",
    "(" + "1, " * 200 + ")",
]


@pytest.mark.parametrize("fortran", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_a_header_promises_is_checked_first(cli, shape, fortran, suffix):
    content = npy(shape, bytes(16), fortran=fortran)
    data = f"x{suffix}"
    Path(data).write_bytes(content if suffix == ".npy" else npz(content))
    write_model()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for found in (fit(cli, data, family="diagonal"), run(cli, data)):
        assert_refused(found, 2, f"{data}: ")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + (1 << 18)  # in KiB


@pytest.mark.parametrize(
    "content",
    [
        npy("(1, 1000000000)", bytes(8)),
        npy("(1, 1000000000)", bytes(8), fortran=True),
        npy("(0, 10000000000)"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    ],
    ids=["wide", "wide, by column", "no rows", "a header of 4 GB"],
)
@pytest.mark.usefixtures("cli")  # for its empty folder
def test_little_memory_is_enough_to_refuse(content):
    Path("x.npy").write_bytes(content)
    write_model()
    found = run_confined("run", "x.npy", "--model", "m.json", "--output", "o.csv")
    assert_refused(found, 2, "x.npy: ")


def test_messages_of_headers(cli):
    write_model()
    for content, message in (
        (npy("(1, 1000000000)", bytes(8)), "x.npy: ends before its last row: the file is incomplete"
         "; by its header it has 1000000000 columns and 1 row\n"),
        (npy("(3,)", bytes(8)), "x.npy: ends before its last row: the file is incomplete; by its "
         "header it has 1 column and 3 rows\n"),
        (npy("(True, 2)", bytes(16)), "x.npy: is an array of impossible shape (True, 2)\n"),
        (npy("(0, 10000000000)"), "x.npy: holds no rows\n"),
        (npy("(4, 0)"), "x.npy: has no columns\n"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "x.npy: is not a .npy file: its header has "),
        (npy("(1, 2)" + " " * 20_000), "x.npy: is not a .npy file: its header has 20"),
        (npy("(10**12, 2)"), "x.npy: is not a .npy file: its header, {'descr': '<f8', 'fortran_"
         "order': Fal..., is none of an array\n"),
        (b"junk" * 9, "x.npy: is not a .npy file: it does not begin as one\n"),
        (b"\x93NUMPY\x01\x00\x10", "x.npy: is not a .npy file: it ends within its header\n"),
        (b"\x93NUMPY\x01\x00\x10\x00{", "x.npy: is not a .npy file: it ends within its header\n"),
        (npy("(1, 2)", bytes(16), version=3), "x.npy: is an array of an unknown version (3, 0)"),
    ):  # fmt: skip
        Path("x.npy").write_bytes(content)
        assert_refused(run(cli, "x.npy"), 2, message)


@pytest.mark.parametrize(
    "descr",
    [
        "'|O'",
        "'<f8, <f8'",
        "[('a', '<f8'), ('b', '<f8')]",
        "'V1000000000000'",
        "('<f8', (1000000000,))",
        "'S9'",
        "'<M8[s]'",
        "'?'",
        "7",
        "None",
        "'nonsense'",
        "[" * 500 + "]" * 500,
        "1if 1else 2",
    ],
)
def test_odd_types_are_refused_in_one_line(cli, descr):
    Path("x.npy").write_bytes(npy("(1, 2)", bytes(16), descr=descr))
    assert_refused(fit(cli, "x.npy"), 2, "x.npy: is ")


@pytest.mark.parametrize("version", [1, 2])
def test_headers_of_both_versions_are_read(cli, version):
    write_model()
    Path("x.npy").write_bytes(npy("(40, 2)", np.column_stack([A, B]).tobytes(), version=version))
    expected = -40 * np.log(2 * np.pi) - (A @ A + B @ B) / 2
    assert run(cli, "x.npy") == (0, pytest.approx(expected, rel=1e-12), "")


@pytest.mark.parametrize("declared", [10**6, 4 * 10**9])
def test_an_archive_that_lies_about_its_size(cli, declared):
    # 30 times as many rows as there are, by the header and by the archive.
    write_model()
    content = npy(f"({declared // 32}, 2)", bytes(16000))
    Path("x.npz").write_bytes(npz(content, declared=declared))
    before = time.monotonic()
    for found in (fit(cli, "x.npz", family="diagonal"), run(cli, "x.npz")):
        assert_refused(found, 2, "x.npz: ")
    assert time.monotonic() - before < 30


@pytest.mark.parametrize("compressed", [False, True])
def test_many_columns_stored_one_by_one(cli, compressed):
    x = np.asfortranarray(np.random.default_rng(0).normal(size=(30, 2000)))
    if compressed:
        data = "x.npz"
        np.savez_compressed(data, x=x)
    else:
        data = "x.npy"
        np.save(data, x)
    np.save("y.npy", np.ascontiguousarray(x))
    code, _, err = run_confined(
        *("fit", data, "--components", 1, "--family", "diagonal", "--output", "m.json", "--quiet"),
        open_files=256,
    )
    assert (code, err) == (0, "")
    assert run(cli, data) == run(cli, "y.npy")


def test_columns_stored_one_by_one_are_read_block_by_block(cli, monkeypatch):
    from estep_xp.cli.read import arrays

    monkeypatch.setattr(arrays, "_BLOCK_SIZE", 100)
    x = np.random.default_rng(1).normal(size=(1000, 5))
    np.save("x.npy", np.asfortranarray(x))
    np.save("y.npy", x)
    fit(cli, "y.npy", "--columns", "4,0,2", family="full")
    expected = run(cli, "y.npy", "--columns", "4,0,2")
    assert expected[0] == 0
    assert run(cli, "x.npy", "--columns", "4,0,2") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            npy("(1, 1000000000)", bytes(8)),
            "x.npy: has 1000000000 columns; the model has 2 features",
        ),
        (
            npy("(1000000000, 2)", bytes(8)),
            "x.npy: ends before its last row: the file is incomplete",
        ),
        (
            npy("(2, 2)", bytes(32), fortran=True),
            "x.npy: is stored column by column; must be a file",
        ),
    ],
)
def test_a_pipe(cli, content, message):
    write_model()
    os.mkfifo("x.npy")
    writer = threading.Thread(target=lambda: Path("x.npy").write_bytes(content))
    writer.start()
    found = run(cli, "x.npy")
    writer.join()
    assert_refused(found, 2, message)


def test_damaged_archives_and_headers_end_in_one_line(cli):
    rng = np.random.default_rng(5)
    write_model()
    np.save("good.npy", np.column_stack([A, B]))
    np.savez_compressed("good.npz", x=np.column_stack([A, B]))
    for name in ("good.npy", "good.npz"):
        content = bytearray(Path(name).read_bytes())
        for _ in range(60):
            damaged = content.copy()
            region = min(len(content), 128) if name.endswith(".npy") else len(content)
            for place in rng.integers(0, region, size=rng.integers(1, 6)):
                damaged[place] = rng.integers(0, 256)
            data = f"x{name[-4:]}"
            Path(data).write_bytes(damaged)
            code, _, err = run(cli, data)
            assert code in (0, 2), err
            assert err.count("\n") <= 1
            assert "internal error" not in err
