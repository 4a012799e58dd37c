"""Ctrl-C while the command starts: it ends at once, with no traceback, as at any later time."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.commands import ENVIRONMENT, ROOT, start

# Stands in the place of NumPy, the first import that takes time, and takes all the time.
SLOW = "import os, time\nos.write(1, b'!')\ntime.sleep(60)\n"
AS_SCRIPT = "import sys\nfrom estep_xp.__main__ import main\nsys.exit(main())\n"


@pytest.fixture(params=["module", "script"])
def slow_command(request, tmp_path):
    """The command, which never gets further than its imports."""
    (tmp_path / "numpy.py").write_text(SLOW)
    (tmp_path / "array_api_compat.py").write_text(SLOW)
    (tmp_path / "estep-xp").write_text(AS_SCRIPT)
    arguments = ["-m", "estep_xp"] if request.param == "module" else [str(tmp_path / "estep-xp")]
    return start(
        command=[sys.executable, *arguments],
        environment={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        bufsize=0,
    )


def test_ctrl_c_while_the_command_imports(slow_command):
    assert slow_command.stdout.read(1) == b"!"
    slow_command.send_signal(signal.SIGINT)
    _, stderr = slow_command.communicate(timeout=60)
    assert (slow_command.returncode, stderr) == (130, b"")


def test_other_programs_keep_their_handlers():
    script = (  # a parent that ignores Ctrl-C hands that on
        "import signal; signal.signal(2, signal.default_int_handler); import estep_xp; "
        "print(signal.getsignal(2) is signal.default_int_handler)"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], env=ENVIRONMENT, capture_output=True, check=True
    )
    assert process.stdout == b"True\n"
