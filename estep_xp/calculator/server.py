"""The server of the page: a port of this computer, a browser, and an end that comes quickly."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import warnings
import webbrowser
from contextlib import suppress
from threading import Thread
from types import FrameType
from typing import Any

import uvicorn

from estep_xp.calculator.patience import PatientProtocol
from estep_xp.cli.system import terminal
from estep_xp.cli.text.errors import SystemFailure

HOST = "127.0.0.1"
_USUAL_PORT = 8765
_NEIGHBOURS = 20
_MAX_ADDRESS_LENGTH = 2_000_000  # bytes; a link carries up to MAX_OBSERVATIONS numbers
_GRACE = 1  # seconds to finish running requests


def serve(app: Any, port: int | None, *, browser: bool) -> None:
    """Serve `app` until a signal ends the process.

    Parameters
    ----------
    app : ASGI application
        The page.
    port : int or None
        The port; None for the usual one, or the next that is free.
    browser : bool
        Open the page in a browser: in $BROWSER if that is set, or else in the usual
        one if there is a display to show it on.

    Raises
    ------
    SystemFailure
        If there is no such port to be had.
    """
    # Set once: warnings.catch_warnings is not thread-safe.
    warnings.filterwarnings("ignore", ".*zero density", RuntimeWarning)
    # asyncio would log a traceback for each connection beyond the limit of open files.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=_MAX_ADDRESS_LENGTH,
        timeout_graceful_shutdown=_GRACE,
    )
    with open_listener(port) as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        terminal.write_stdout(f"{address}\n")
        terminal.flush_stdout()
        terminal.write_stderr("Ctrl-C ends the calculator.")
        if browser:
            Thread(target=_open_browser, args=(address,), daemon=True).start()
        _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server that keeps ignoring the signals that were ignored when its process started.

    uvicorn would handle all signals; nohup and background jobs of shells rely on the opposite.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        everyone = signal.valid_signals()
        self._ignored = {one for one in everyone if signal.getsignal(one) is signal.SIG_IGN}

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the server, unless the signal is one to ignore."""
        if sig not in self._ignored:
            super().handle_exit(sig, frame)


def open_listener(port: int | None) -> socket.socket:
    """Return a socket that listens on a port of this computer, and on no other computer's behalf.

    Parameters
    ----------
    port : int or None
        The port; None for the usual one, or the next that is free.

    Raises
    ------
    SystemFailure
        If the port is taken, or may not be had.
    """
    wanted = [port] if port is not None else [*range(_USUAL_PORT, _USUAL_PORT + _NEIGHBOURS), 0]
    for number in wanted:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if os.name == "posix":  # reuse a port in TIME_WAIT
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, number))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if number != wanted[-1] and error.errno == errno.EADDRINUSE:
                continue
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"{error.strerror}"
            hint = "choose another, or leave it out for one that is free"
            raise SystemFailure(f"--port: {number} {reason}; {hint}") from error
        return listener
    raise AssertionError("the last port is taken or refused")


def _open_browser(address: str) -> None:
    """Show the page; where that fails, the address has been printed."""
    if _has_display():  # webbrowser tries $BROWSER first
        with suppress(Exception):  # a broken browser is no error of ours
            webbrowser.open(address)
        return
    for command in filter(None, os.environ.get("BROWSER", "").split(os.pathsep)):
        with suppress(Exception):
            if webbrowser.get(command).open(address):
                return


def _has_display() -> bool:
    """Return whether a browser would have a window; one in this terminal would be in the way."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
