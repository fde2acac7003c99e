"""The files of a configuration, kept for others."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.load import load
from aiproxy.config.sources import Sources
from aiproxy.errors import ConfigurationError
from tests.config.loading import LoadingTestCase


class SourcesTests(SynchronousTestCase):
    """What was read, and read again."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_kept(self) -> None:
        """What was there is there, whatever has become of it; so is what was not."""
        path, missing = self.folder / "a", self.folder / "b"
        path.write_bytes(b"\xff\0a")
        sources = Sources()
        self.assertEqual(sources.take(path, 100), b"\xff\0a")
        self.assertFalse(sources.is_file(missing))
        path.unlink()
        missing.write_bytes(b"new")
        again = Sources.read(sources.write())
        self.assertEqual(again.take(path, 100), b"\xff\0a")
        self.assertTrue(again.is_file(path))
        self.assertFalse(again.is_file(missing))
        with self.assertRaises(FileNotFoundError):
            again.take(missing, 100)

    def test_once(self) -> None:
        """What is asked for twice is the same twice; what was missing may have come."""
        path = self.folder / "a"
        sources = Sources()
        self.assertFalse(sources.is_file(path))
        for text in (b"one", b"two"):
            path.write_bytes(text)
            self.assertTrue(sources.is_file(path))
            self.assertEqual(sources.take(path, 100), b"one")

    def test_impossible(self) -> None:
        """What cannot be looked at is not there."""
        for name in ("x" * 5000, "a\0b"):
            self.assertFalse(Sources().is_file(self.folder / name))

    def test_bound(self) -> None:
        """Of what is too long there is a byte more, so that it is known."""
        path = self.folder / "a"
        path.write_bytes(b"x" * 100)
        self.assertEqual(len(Sources().take(path, 10)), 11)


class LoadedTests(LoadingTestCase):
    """A whole configuration, out of its sources."""

    def test_again(self) -> None:
        """It is the same, though its files are broken or gone by then."""
        self.write("AUTH_TOKEN=sk-client\n", ".env")
        self.write("sk-upstream", "key")
        self.write("", "ca.pem")
        loaded = self.load(
            """
            providers: {openai: {token: "file:key", ca_bundle: ca.pem}}
            models: [{name: openai/one, provider: openai}]
            """
        )
        written = loaded.sources.write()
        for name in (".env", "key", "ca.pem"):
            (self.folder / name).unlink()
        self.write("models: 7\n")
        again = load("c.yaml", env={}, folder=self.folder, sources=Sources.read(written))
        self.assertEqual(again, loaded)
        self.assertTrue(again.config.auth_tokens)
        with self.assertRaises(ConfigurationError):
            load("c.yaml", env={}, folder=self.folder)
