"""Ctrl-C while the command still imports: its exit code, and no traceback.

This is the first module that the package imports, and it imports nothing that takes time. It acts
only where Python was started as the command; for every other program it does nothing.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # signal takes time
import os
import sys


def _is_command() -> bool:
    """Return whether this process is ``estep-xp`` or ``python -m estep_xp``."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""  # noqa: PTH119  pathlib takes time
    if name == "-m":  # so it is called until the module is found
        return "estep_xp" in sys.orig_argv
    return name in ("estep-xp", "estep-xp.exe", "estep-xp-script.py")


def _leave(signum: int, _frame: object) -> None:
    os._exit(128 + signum)  # nothing has been opened or written yet


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)
