"""How Sphinx builds the documentation: ``python -m sphinx -W -b html docs OUT``."""

from __future__ import annotations

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

import estep_xp

project = "estep_xp"
author = "estep_xp developers"
copyright = "2026, estep_xp developers"  # noqa: A001, the name that Sphinx asks for
release = version = estep_xp.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # docstrings say shapes, which is more
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autosummary_generate = False  # api.md lists the names

# Copied code has neither prompts nor output.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = "estep_xp"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"


# Formulas are written as MathML when the site is built: a reader's browser asks no other host for a
# script, as it would with Sphinx's own renderer, MathJax.
def write_inline(translator: nodes.NodeVisitor, node: nodes.math) -> None:
    """A formula within a line."""
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def write_block(translator: nodes.NodeVisitor, node: nodes.math_block) -> None:
    """A formula in a line of its own."""
    formula = tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (write_inline, None), (write_block, None))
