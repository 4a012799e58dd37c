"""Writes the guide into the calculator's page: ``python docs/write_guide.py``.

``docs/guide.md`` is the source. The page needs the guide in an installed package, without a parser
of Markdown, so its HTML is written here once and kept: formulas are MathML, its picture is a part
of it, and nothing is asked of another host. ``tests/test_guide.py`` says whether it is in step.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from docutils import nodes
from docutils.core import publish_doctree, publish_from_doctree
from docutils.utils.math.latex2mathml import tex2mathml
from docutils.writers.html5_polyglot import HTMLTranslator, Writer
from myst_parser.parsers.docutils_ import Parser

HERE = Path(__file__).parent
SOURCE = HERE / "guide.md"
TARGET = HERE.parent / "estep_xp" / "calculator" / "templates" / "guide.html"
SETTINGS = {
    "doctitle_xform": False,
    "embed_stylesheet": False,
    "initial_header_level": 2,
    "myst_enable_extensions": ["dollarmath"],
    "myst_heading_anchors": 3,
    "output_encoding": "unicode",
    "report_level": 2,
    "halt_level": 2,
    "syntax_highlight": "none",
}


class Translator(HTMLTranslator):
    """HTML with formulas written as ``conf.py`` writes them, and pictures as a part of it."""

    def visit_math(self, node: nodes.math) -> None:
        """A formula within a line."""
        self.body.append(tex2mathml(node.astext()))
        raise nodes.SkipNode

    def visit_math_block(self, node: nodes.math_block) -> None:
        """A formula in a line of its own."""
        formula = tex2mathml(node.astext(), as_block=True)
        self.body.append(f'<div class="formula">{formula}</div>\n')
        raise nodes.SkipNode

    def visit_image(self, node: nodes.image) -> None:
        """A picture, as the text of an address."""
        picture = (HERE / node["uri"]).read_bytes()
        address = f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"
        self.body.append(f'<img src="{address}" alt="{self.attval(node["alt"])}">\n')
        raise nodes.SkipNode

    def visit_table(self, node: nodes.table) -> None:
        """A table, which may be wider than the page."""
        self.body.append('<div class="scroll" tabindex="0" role="region" aria-label="Table">\n')
        super().visit_table(node)

    def depart_table(self, node: nodes.table) -> None:
        """The end of a table."""
        super().depart_table(node)
        self.body.append("</div>\n")

    def visit_literal_block(self, node: nodes.literal_block) -> None:
        """Lines of Python, which may be wider than the page."""
        self.body.append(f'<pre tabindex="0">{self.encode(node.astext())}</pre>\n')
        raise nodes.SkipNode


def digest() -> str:
    """Return what tells this guide and its picture from all others."""
    picture = HERE / "pictures" / "guide_responsibilities.svg"
    texts = (SOURCE.read_text(encoding="utf-8"), picture.read_text(encoding="utf-8"))
    return hashlib.sha256("".join(texts).encode()).hexdigest()


def write_guide() -> str:
    """Return the guide as HTML."""
    # Links to other pages of the documentation, which are not there, become plain words.
    text = re.sub(r"\[([^\]]+)\]\(\w+\.md\)", r"\1", SOURCE.read_text(encoding="utf-8"))
    document = publish_doctree(text, str(SOURCE), parser=Parser(), settings_overrides=SETTINGS)
    writer = Writer()
    writer.translator_class = Translator
    publish_from_doctree(document, writer=writer, settings_overrides=SETTINGS)
    head = f"{{# Written by docs/write_guide.py from docs/guide.md, {digest()}. #}}\n"
    body = re.sub(r">\n +<(?=/?m)", "><", writer.parts["body"].strip())  # formulas on a line each
    return f"{head}{{% raw %}}\n{body}\n{{% endraw %}}\n"


if __name__ == "__main__":
    TARGET.write_text(write_guide(), encoding="utf-8")
