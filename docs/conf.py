"""How Sphinx builds these pages."""

from importlib.metadata import version as version_of
from typing import Any

project = "aiproxy"
author = "aiproxy contributors"
project_copyright = "2026, aiproxy contributors"
release = version = version_of("aiproxy")

extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

autodoc_typehints = "description"
autodoc_member_order = "bysource"
# As they are written: the value of os.environ would be the builder's, with his keys.
autodoc_preserve_defaults = True

html_theme = "furo"
html_title = f"aiproxy {release}"


def setup(app: Any) -> None:
    """Leave out the signatures that attrs makes: the parameters stand below."""
    app.connect("autodoc-process-signature", _find_signature)


def _find_signature(
    app: Any, what: str, name: str, value: object, options: object, signature: str, result: str
) -> tuple[str, str]:
    return ("" if what == "class" and hasattr(value, "__attrs_attrs__") else signature), result
