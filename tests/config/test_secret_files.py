"""Secrets in files of their own."""

from __future__ import annotations

from tests.config.loading import LoadingTestCase

MODELS = """
    providers: {{up: {{base_url: "https://up.example/v1", token: "{token}"}}}}
    models: [{{name: up/one, provider: up}}]
    """


class SecretFileTests(LoadingTestCase):
    """What stands in the place of a token."""

    def token(self, token: str, env: dict[str, str] | None = None) -> str:
        """Return the provider's token."""
        [secret] = self.config(MODELS.format(token=token), env).providers["up"].tokens
        return secret.reveal()

    def test_token(self) -> None:
        """It is what the file holds, without space around; relative to the configuration's."""
        self.write("\n sk-from-file \n", "key")
        self.assertEqual(self.token("file:key"), "sk-from-file")
        self.assertEqual(self.token(f"file:{self.folder.absolute()}/key"), "sk-from-file")
        folder = {"CREDENTIALS_DIRECTORY": str(self.folder.absolute())}
        self.assertEqual(self.token("file:${CREDENTIALS_DIRECTORY}/key", folder), "sk-from-file")

    def test_again(self) -> None:
        """It is read with each load."""
        for text in ("sk-1", "sk-2"):
            self.write(text, "key")
            self.assertEqual(self.token("file:key"), text)

    def test_environment(self) -> None:
        """So it is with what the environment names; a file of AUTH_TOKEN may hold several."""
        self.write("sk-a\nsk-b\n", "clients")
        self.write("sk-admin", "admin")
        self.write("sk-openai", "openai")
        config = self.config(
            "models: [{name: 'openai/*', provider: openai}]",
            {
                "AUTH_TOKEN": "file:clients, sk-c",
                "ADMIN_TOKEN": "file:admin",
                "OPENAI_API_KEY": "file:openai",
            },
        )
        self.assertEqual([one.reveal() for one in config.auth_tokens], ["sk-a", "sk-b", "sk-c"])
        assert config.admin_token
        self.assertEqual(config.admin_token.reveal(), "sk-admin")
        self.assertEqual(config.providers["openai"].tokens[0].reveal(), "sk-openai")

    def test_several(self) -> None:
        """A file of AUTH_TOKEN has them in lines, or as in the variable; blank ones don't count."""
        for text in (
            "sk-a\nsk-b",
            "\ufeffsk-a\r\n \t\r\n\r\nsk-b\r\n",
            "sk-a, sk-b,\n",
            "sk-a\nsk-b\nsk-a",
        ):
            self.write(text, "clients")
            tokens = self.config(
                "models: [{name: a, provider: demo}]", {"AUTH_TOKEN": "file:clients"}
            )
            self.assertEqual([one.reveal() for one in tokens.auth_tokens], ["sk-a", "sk-b"])

    def test_keys(self) -> None:
        """A client's token may stand in a file, too."""
        self.write("sk-client", "key")
        text = "models: [{name: a, provider: demo}]\nkeys: [{name: k, token: 'file:key'}]"
        plain = text.replace("file:key", "sk-client")
        self.assertEqual(self.config(text).keys, self.config(plain).keys)

    def test_no_good(self) -> None:
        """What is missing, empty, too long or no text is a mistake with its line, never shown."""
        self.write(" \n", "empty")
        self.write("a\0b", "nul")
        self.write("sk-a\nsk-b", "lines")
        self.write(b"sk-\xff", "binary")
        self.write("sk-x two", "words")
        self.write("x" * 70_000, "long")
        for name, why in (
            ("none", "cannot be read: No such file"),
            (".", "cannot be read: Is a directory"),
            ("empty", "is empty"),
            ("binary", "is not text"),
            ("nul", "must be one word"),
            ("long", "is too long"),
            ("words", "must be one word"),
            ("lines", "must be one word"),
        ):
            [problem] = self.problems(MODELS.format(token=f"file:{name}"))
            self.assertIn(f"c.yaml:1: providers.up.token: the file {name} {why}", problem)
            self.assertNotIn("sk-", problem)
        [problem] = self.problems(MODELS.format(token="file:"))
        self.assertIn("providers.up.token: needs the name of a file", problem)

    def test_environment_no_good(self) -> None:
        """Nor is it in the environment: nobody is let in, nothing is switched off in silence."""
        self.write(" ,\n", "empty")
        models = "models: [{name: 'openai/*', provider: openai}]"
        for variable in ("AUTH_TOKEN", "ADMIN_TOKEN", "OPENAI_API_KEY"):
            given = {"OPENAI_API_KEY": "sk-x", variable: "file:none"}
            self.assertEqual(
                self.problems(models, given),
                [
                    f"environment: {variable}: the file none cannot be read:"
                    " No such file or directory"
                ],
            )
        self.assertEqual(
            self.problems(models, {"OPENAI_API_KEY": "sk-x", "AUTH_TOKEN": "sk-a,file:empty"}),
            ["environment: AUTH_TOKEN: the file empty is empty"],
        )
