"""How Sphinx builds the documentation: ``python -m sphinx -W -b html docs OUT``."""

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
html_static_path: list[str] = []
