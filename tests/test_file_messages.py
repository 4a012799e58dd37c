"""What the command says of files that are almost right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.column_files import fit
from tests.commands import assert_refused

TEXT = "a,b,Ort\n1,2,Köln\n3,5,Köln\n"


# --- letters beyond ASCII -----------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_letters_are_shown_as_they_were_written(cli, encoding):
    Path("x.csv").write_bytes(TEXT.encode(encoding))
    code, _, message = fit(cli, "x.csv")
    assert code == 2
    assert "x.csv column Ort: holds text, Köln for example; must hold real" in message
    Path("x.csv").write_bytes("Höhe,b\nü,2\nö,2\n3,5\n".encode(encoding))
    assert_refused(fit(cli, "x.csv", "--header", "no"), 2, "x.csv line 1: value 1 is Höhe; must be")
