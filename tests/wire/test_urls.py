"""Tests of :mod:`aiproxy.wire.urls`."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.wire import urls
from aiproxy.wire.urls import find_credentials, join_url, origin, read_url, without_credentials


class ReadUrlTests(SynchronousTestCase):
    """URLs of the configuration."""

    def test_taken_as_it_is(self) -> None:
        """A good URL comes back unchanged, with its query, port and credentials."""
        for url in [
            "https://api.openai.com/v1",
            "http://localhost:11434/v1/",
            "https://user:word@example.com/a?b=c&d",
            "http://[::1]:8000/v1",
        ]:
            self.assertEqual(read_url(url), url)

    def test_other_letters(self) -> None:
        """Letters beyond ASCII are encoded, in the host by IDNA."""
        self.assertEqual(
            read_url("https://b\u00fccher.example/\u00fc"), "https://xn--bcher-kva.example/%C3%BC"
        )

    def test_refused(self) -> None:
        """What is no URL is refused, with the reason."""
        for text, message in [
            ("", "must begin with http"),
            ("api.openai.com/v1", "must begin with http"),
            ("ftp://example.com", "must begin with http"),
            ("//example.com", "must begin with http"),
            ("https://", "host or port"),
            ("https:///v1", "host or port"),
            ("https://:80/v1", "host or port"),
            ("https://example.com:x/v1", "host or port"),
            ("https://example.com:0/v1", "host or port"),
            ("https://example.com:65536/v1", "host or port"),
            ("https://[::1/v1", "host or port"),
            ("https://exa mple.com", "a space"),
            ("https://example.com/\r\nx: y", "a space"),
            ("https://example.com/{account_id}", "a space"),
            ("https://example.com/#part", "fragment"),
            ("https://\u00fc\u2024..\uffff", "is not a URL"),
        ]:
            with self.assertRaisesRegex(ValueError, message):
                read_url(text)

    @given(st.one_of(st.text(), st.text().map("https://".__add__)))
    def test_hostile(self, text: str) -> None:
        """Any text gives an ASCII URL whose origin can be told, or ValueError."""
        try:
            url = read_url(text)
        except ValueError:
            return
        self.assertTrue(url.isascii())
        self.assertTrue(origin(url).startswith("http"))
        self.assertTrue(join_url(url, "/chat/completions").startswith("http"))


class JoinUrlTests(SynchronousTestCase):
    """A base URL and a route."""

    def test_slashes(self) -> None:
        """There is exactly one slash between the two."""
        for base in ("https://example.com/v1", "https://example.com/v1/"):
            for route in ("/chat", "chat"):
                self.assertEqual(join_url(base, route), "https://example.com/v1/chat")
        self.assertEqual(join_url("https://example.com", "/chat"), "https://example.com/chat")

    def test_queries(self) -> None:
        """The queries of both are kept, the base's first."""
        self.assertEqual(
            join_url("https://example.com/v1?a=1", "/m:stream?alt=sse"),
            "https://example.com/v1/m:stream?a=1&alt=sse",
        )
        self.assertEqual(join_url("https://example.com", "/m?b=2"), "https://example.com/m?b=2")


class OriginTests(SynchronousTestCase):
    """Scheme, host and port."""

    def test_origin(self) -> None:
        """The host is in lower case, the default port left out, the rest gone."""
        for url, expected in [
            ("https://API.example.com/v1?x=y", "https://api.example.com"),
            ("https://example.com:443/", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://example.com:443", "http://example.com:443"),
            ("http://user:word@localhost:8000/v1", "http://localhost:8000"),
            ("http://[::1]:8000/v1", "http://[::1]:8000"),
        ]:
            self.assertEqual(origin(url), expected)


class WithoutCredentialsTests(SynchronousTestCase):
    """URLs fit for a log line."""

    def test_masked(self) -> None:
        """User information and key-like values are masked, the rest is kept."""
        for url, expected in [
            ("https://example.com/v1?a=b", "https://example.com/v1?a=b"),
            ("https://me:word@example.com:8443/v1", "https://***@example.com:8443/v1"),
            ("https://example.com/m?key=abc&alt=sse", "https://example.com/m?key=***&alt=sse"),
            ("https://example.com/?api-key=abc", "https://example.com/?api-key=***"),
            ("https://example.com/?Access_Token=abc", "https://example.com/?Access_Token=***"),
            ("https://example.com/?sig=abc&flag", "https://example.com/?sig=***&flag"),
            ("https://[bad", "***"),
        ]:
            self.assertEqual(without_credentials(url), expected)

    def test_found(self) -> None:
        """What is hidden is found, for it is sent: decoded, as an upstream may tell it."""
        for url, expected in (
            ("https://a.example/v1?x=1", [""]),
            ("https://tok%2Fen@a.example/v1", ["tok/en"]),
            ("https://u:p%40ss@a.example/?key=k%2F1&x=2&sig=s", ["p@ss", "k/1", "s"]),
        ):
            self.assertEqual(list(find_credentials(url)), expected)

    @given(st.text())
    def test_never_fails(self, text: str) -> None:
        """It is used in messages, so no text makes it raise."""
        self.assertIsInstance(without_credentials(text), str)

    @given(st.text("abcdefghij", min_size=8))
    def test_never_shown(self, word: str) -> None:
        """No secret is left, wherever in the URL a secret may stand."""
        word = f"sk{word}"
        url = f"https://{word}:{word}@example.com/v1?key={word}&token={word}"
        self.assertNotIn(word, without_credentials(url))


class ExampleTests(SynchronousTestCase):
    """The examples in the docstrings."""

    def test_examples(self) -> None:
        """They are true."""
        results = doctest.testmod(urls)
        self.assertEqual(results.failed, 0)
        self.assertGreater(results.attempted, 0)
