"""Our configuration as YAML."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.convert.litellm_values import Kind, Note
from aiproxy.convert.writing import write_file


class WriteFileTests(SynchronousTestCase):
    """The text of a file."""

    def test_form(self) -> None:
        """Sections stand apart, lists of names in a line; what YAML misreads is quoted."""
        models = ["a@b", "no"]
        text = write_file(
            {
                "models": [{"name": "é: 1", "body": {"stop": ["x"], "seed": "1"}}],
                "groups": {"g": {"models": models}, "h": {"models": models}},
            },
            (),
            "l.yaml",
        )
        self.assertEqual(
            text,
            "# Made of l.yaml by `aiproxy convert`.  Check it with `aiproxy check`.\n"
            "\n"
            "models:\n"
            "  - name: 'é: 1'\n"
            "    body:\n"
            "      stop: [x]\n"
            "      seed: '1'\n"
            "\n"
            "groups:\n"
            "  g:\n"
            "    models: [a@b, 'no']\n"
            "  h:\n"
            "    models: [a@b, 'no']\n",
        )

    def test_notes(self) -> None:
        """Notes are comments at the head, in lines of their own whatever they hold."""
        note = Note(Kind.NOT_TAKEN_OVER, "l\n.yaml", (3, 9), "a.b", "x" * 60 + " \u2028models: []")
        text = write_file({"models": []}, [note], "l.yaml")
        self.assertEqual(
            text,
            "# Made of l.yaml by `aiproxy convert`.  Check it with `aiproxy check`.\n"
            "#\n"
            f"# not taken over: l\ufffd.yaml:3: a.b: {'x' * 60}\n"
            "#     \ufffdmodels: [] (also line 9)\n"
            "\n"
            "models: []\n",
        )
