"""Draws the README's pictures of the command line anew, from what it really prints (needs Unix)."""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
PICTURE = (
    'estep-xp calculate --x "0.5, 1.2, 3.8" --means "2, 6" --variances "1, 1.5" '
    '--weights "0.45, 0.55" --plot calculate.png --force'
)
SESSION = (
    "estep-xp fit faithful.csv --components 2 --family full --output model.json",
    "estep-xp run faithful.csv --model model.json --output out.npy",
)


def run_on_terminal(command: str, folder: Path) -> str:
    """Run a command on a pseudo-terminal of 80 columns; return its standard output, in colour."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command.replace("estep-xp", "estep_xp", 1))],
        cwd=folder,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
        stdout=theirs,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 1 << 16):
            shown += piece
    except OSError:  # everybody has left the terminal
        pass
    os.close(ours)
    if process.wait() != 0:
        raise SystemExit(f"failed: {command}")
    return shown.decode().replace("\r\n", "\n")


def draw_session() -> str:
    """Return a picture of the session, as SVG that asks no other host for a font."""
    console = Console(record=True, width=80, file=io.StringIO())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "faithful.csv").write_bytes((DATA / "faithful.csv").read_bytes())
        for command in SESSION:
            console.print(Text(f"$ {command}", style="bold green"))
            console.print(Text.from_ansi(run_on_terminal(command, folder)))
    svg = console.export_svg(title="estep-xp", unique_id="estep-xp")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    run_on_terminal(PICTURE, HERE)
    with tempfile.TemporaryDirectory() as name:
        model = shlex.quote(str(Path(name) / "model.json"))
        fit = f"estep-xp fit ../data/faithful.csv --components 2 --output {model} --plot fit.png"
        run_on_terminal(f"{fit} --force", HERE)
    (HERE / "terminal.svg").write_text(draw_session(), encoding="utf-8")
