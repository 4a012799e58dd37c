"""The page's server in a process of its own, and requests to it: for the tests of it."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from tests.commands import default_signals

ROOT = Path(__file__).parent.parent
DATA = ROOT / "examples" / "data"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
COMMAND = [sys.executable, "-m", "estep_xp", "calculator"]


def start(*arguments, environment=None, command=COMMAND):
    with default_signals():
        return subprocess.Popen(
            [*command, *arguments],
            env=ENVIRONMENT | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextlib.contextmanager
def running(*arguments, **options):
    """Yield a server's process and its address."""
    process = start(*arguments, **options)
    try:
        address = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", address), process.stderr.read()
        yield process, address
    finally:
        process.kill()
        process.communicate()


def ask(address, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
