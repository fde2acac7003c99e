"""``docs/moving_from_litellm.md`` says what is true."""

from __future__ import annotations

import re
from pathlib import Path

from aiproxy.convert.writing import write_file
from tests.convert.converting import ConvertingTestCase

PAGE = Path(__file__).parents[2] / "docs" / "moving_from_litellm.md"
_TABLE = r"\n### (.*?)\n\n(.*?)(?=\n\n)"
#: What the rows of a table are put into.
FRAMES = {
    "`litellm_params`": "model_list: [{model_name: a, litellm_params: {%s}}]",
    "`model_info`": (
        "model_list: [{model_name: a, litellm_params: {model: openai/a}, model_info: {%s}}]"
    ),
}
SETTINGS = """
model_list:
- {{model_name: a, litellm_params: {{model: openai/a}}}}
- {{model_name: b, litellm_params: {{model: openai/b}}}}
- {{model_name: g, litellm_params: {{model: openai/g}}}}
- {{model_name: g, litellm_params: {{model: openai/h}}}}
{section}: {{%s}}
"""


class MovingPageTests(ConvertingTestCase):
    """The page for people who come from LiteLLM."""

    def setUp(self) -> None:
        super().setUp()
        self.text = PAGE.read_text(encoding="utf-8")

    def test_example(self) -> None:
        """The example becomes what the page shows, and loads without a warning."""
        theirs, ours = re.findall(r"```yaml\n(.*?)```", self.text, re.DOTALL)
        converted = self.converted(theirs)
        text = write_file(converted.sections, converted.notes, "l.yaml")
        self.assertEqual(text.replace("l.yaml", "config.yaml"), ours)
        keys = ("AZURE_EU_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GROQ_API_KEY")
        self.config(text, dict.fromkeys(keys, "k"))

    def test_rows(self) -> None:
        """What the left cell of a row says in LiteLLM is said by the right one here."""
        counted = 0
        for heading, table in re.findall(_TABLE, self.text, re.DOTALL):
            for theirs, ours in re.findall(r"\n\| `(.+?)` \| `(.+?)` \|", table):
                counted += 1
                for section in re.findall("`(.+?)`", heading):
                    frame = FRAMES.get(f"`{section}`") or SETTINGS.format(section=section)
                    lines = [
                        line.strip(" -") for line in self.outcome(frame % theirs).text.split("\n")
                    ]
                    found = ours in lines or any(ours in line for line in lines if line[:1] == "#")
                    self.assertTrue(found, f"{section}: {theirs} -> {ours}")
        self.assertEqual(counted, self.text.count("\n| `"))
