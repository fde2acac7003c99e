"""Tests of :mod:`aiproxy.dialects.parts`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.parts import image_links, with_images
from aiproxy.errors import InvalidRequest

DATA = "data:image/png;base64,AAAA"


def image(url: object) -> dict[str, Any]:
    """Make a part with an image."""
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


class PartsTests(SynchronousTestCase):
    """Images that are only named."""

    REQUEST: ClassVar[dict[str, Any]] = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "https://h/no"},
            {"role": "user", "content": [{"type": "text", "text": "https://h/no"}, image("HTTPS://h/a")]},
            {"role": "tool", "content": [image("http://h/b"), image(DATA), "odd", image(None)]},
            {"role": "user", "content": [{"type": "image_url", "image_url": "HTTPS://h/a"}]},
        ],
    }  # fmt: skip

    def test_links(self) -> None:
        """Each link once, whoever says it; data and other texts are none."""
        self.assertEqual(image_links(self.REQUEST), ("HTTPS://h/a", "http://h/b"))
        self.assertEqual(image_links({"messages": [{"role": "user", "content": None}]}), ())

    def test_filled(self) -> None:
        """Images stand in the place of their links; the caller's request stays as it is."""
        before = deepcopy(self.REQUEST)
        filled = with_images(self.REQUEST, {"HTTPS://h/a": DATA, "http://h/b": DATA})
        self.assertEqual(image_links(filled), ())
        self.assertEqual(filled["messages"][1]["content"][1], image(DATA))
        self.assertEqual(filled["messages"][3]["content"][0]["image_url"], {"url": DATA})
        self.assertEqual(filled["messages"][2]["content"][1:], before["messages"][2]["content"][1:])
        self.assertEqual(self.REQUEST, before)

    def test_named_again_and_again(self) -> None:
        """An image counts as often as it is named: a short request would become a long one."""
        images = {"http://h/a": DATA + "A" * 2**20}
        for times in (60, 64):
            request = {"messages": [{"role": "user", "content": [image("http://h/a")] * times}]}
            if times == 60:
                with_images(request, images)
            else:
                error = self.assertRaises(InvalidRequest, with_images, request, images)
                self.assertEqual(error.code, "image_download_failed")
