"""``python -m estep_xp`` and the ``estep-xp`` command."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line and return its exit code."""
    if sys.stdout is not None and not sys.stdout.isatty():
        # Or typer would colour its help in a pipe too, where it sees GITHUB_ACTIONS, say.
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
    try:
        from estep_xp.cli import main as cli
    except ImportError as error:
        missing = (error.name or str(error)).partition(".")[0]
        hint = f'needs {missing}, which is not installed; pip install "estep_xp[cli]"'
        sys.stderr.write(f"estep-xp: {hint}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
