"""How Sphinx builds these pages."""

from importlib.metadata import version as version_of

project = "aiproxy"
author = "aiproxy contributors"
project_copyright = "2026, aiproxy contributors"
release = version = version_of("aiproxy")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"aiproxy {release}"
