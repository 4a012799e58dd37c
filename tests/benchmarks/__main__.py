"""Run the benchmarks and print their tables: ``python -m tests.benchmarks --table``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.table import printed

_FOLDER = Path(__file__).parent
_ROOT = _FOLDER.parents[1]
_NOTHING_RAN = 5  # pytest's exit code


def main() -> int:
    args = _parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = args.json.resolve() if args.json else Path(folder) / "report.json"
        code = _run(args, path)
        written = path.read_text() if path.exists() else ""
    report = json.loads(written) if written else {"benchmarks": []}
    if report["benchmarks"]:
        sys.stdout.write(printed(report) + "\n")
    elif code in (0, _NOTHING_RAN):
        sys.stdout.write("Nothing was measured: no such benchmark, or no such device.\n")
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--table", action="store_true", help="everything; this is the default")
    parser.add_argument("--only", metavar="REGEX", default="", help="benchmarks whose id has it")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one a family")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="where JAX runs")
    parser.add_argument("--json", metavar="FILE", type=Path, help="keep pytest-benchmark's report")
    return parser


def _run(args: argparse.Namespace, report: Path) -> int:
    """Run pytest on this folder; what it says goes to standard error, so that tables stay clean."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(_FOLDER)]
    command += ["--benchmark-quiet", f"--benchmark-json={report}", f"--device={args.device}"]
    # pytest-benchmark says so if all were skipped, and in this project a warning is an error.
    command += ["-W", "ignore:Not saving anything"]
    command += [f"--only={args.only}"] if args.only else []
    command += ["--quick"] if args.quick else []
    # A worker of pytest-xdist may be what runs this, and in a worker nothing is timed.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(command, cwd=_ROOT, env=env, stdout=sys.stderr, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
