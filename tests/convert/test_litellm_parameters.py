"""``litellm_params`` and ``model_info`` at our models."""

from __future__ import annotations

from tests.convert.converting import ConvertingTestCase


class ParameterTests(ConvertingTestCase):
    """How a deployment is called."""

    def test_limits(self) -> None:
        """Limits are limits, whether numbers, texts or variables."""
        outcome = self.of_model(
            "model: openai/x, rpm: '60', tpm: 1e5, max_parallel_requests: os.environ/N",
            env={"N": "4"},
        )
        limits = outcome.models["m"].limits
        self.assertEqual(
            (limits.requests_per_minute, limits.tokens_per_minute, limits.max_concurrent),
            (60, 100_000, 4),
        )
        self.assertEqual(outcome.notes, [])

    def test_no_limits(self) -> None:
        """What is no number above 0 is noted."""
        for value in ("0", "-1", "1.5", ".nan", ".inf", "x", "[1]", "1e40"):
            outcome = self.of_model(f"model: openai/x, rpm: {value}")
            self.assertIsNone(outcome.models["m"].limits.requests_per_minute)
            self.assertEqual(
                outcome.notes,
                ["3 not taken over model_list[].litellm_params.rpm: is no whole number above 0"],
            )

    def test_timeouts(self) -> None:
        """``timeout`` bounds an attempt, ``stream_timeout`` the beginning of a stream."""
        model = self.of_model("model: openai/x, timeout: 0.5, stream_timeout: '90'").models["m"]
        timeouts = model.timeouts
        self.assertEqual(
            (timeouts.attempt, timeouts.headers, timeouts.first_token, timeouts.total),
            (0.5, 90, 90, 600),
        )
        model = self.of_model("model: openai/x, timeout: os.environ/T", env={"T": "9"}).models["m"]
        self.assertEqual(model.timeouts.attempt, 9)
        model = self.of_model("model: openai/x, timeout: 900").models["m"]
        self.assertEqual((model.timeouts.attempt, model.timeouts.total), (900, 900))

    def test_no_timeouts(self) -> None:
        """What is no time is noted."""
        for value in ("x", "-1", ".nan", "0", "1e-12", "1e300", "{connect: 1}"):
            outcome = self.of_model(f"model: openai/x, timeout: {value}")
            self.assertEqual(outcome.models["m"].timeouts.attempt, 120)
            self.assertIn("litellm_params.timeout: is no ", outcome.notes[0])

    def test_headers(self) -> None:
        """Both kinds of headers are one; secrets among them are noted."""
        outcome = self.of_model(
            "model: openai/x, extra_headers: {X-Team: a $b, X-Api-Key: k1},"
            " headers: {X-Env: os.environ/E}",
            env={"E": "prod"},
        )
        self.assertEqual(
            dict(outcome.models["m"].headers),
            {"x-env": "prod", "x-team": "a $b", "x-api-key": "k1"},
        )
        [note] = outcome.notes
        self.assertIn("secret model_list[].litellm_params.extra_headers.X-Api-Key", note)

    def test_impossible_headers(self) -> None:
        """Headers that cannot be set are noted."""
        for header in ("Host: x", "'a b': x", "X: é", "X: [1]"):
            outcome = self.of_model(f"model: openai/x, extra_headers: {{{header}}}")
            self.assertEqual(dict(outcome.models["m"].headers), {})
            self.assertIn("is no header that can be set here", outcome.notes[0])

    def test_organization(self) -> None:
        """An organization is a header; several are as many deployments."""
        outcome = self.of_model("model: openai/x, organization: org-1")
        self.assertEqual(dict(outcome.models["m"].headers), {"openai-organization": "org-1"})
        outcome = self.of_model("model: openai/x, organization: [org-1, org-2]")
        self.assertEqual(
            [dict(model.headers) for model in outcome.config.models],
            [{"openai-organization": "org-1"}, {"openai-organization": "org-2"}],
        )
        self.assertEqual(outcome.config.groups["m"].models, ("m@openai", "m@openai-2"))

    def test_body(self) -> None:
        """Parameters of the provider's API are laid over the body, which is noted."""
        outcome = self.of_model(
            "model: openai/x, temperature: 0.2, stop: ['${x}', ' b ', 2020-01-01],"
            " reasoning_effort: 'low', prompt_cache_key: k, extra_body: {top_k: 5, $y: [1, {z: ~}]}"
        )
        self.assertEqual(
            dict(outcome.models["m"].body),
            {
                "temperature": 0.2,
                "stop": ["${x}", " b ", "2020-01-01"],
                "reasoning_effort": "low",
                "prompt_cache_key": "k",
                "top_k": 5,
                "$y": [1, {"z": None}],
            },
        )
        self.assertIn("temperature: is laid over what the caller sends", outcome.notes[0])

    def test_no_body(self) -> None:
        """What no provider should get is noted."""
        for params, said in (
            ("stream: true", "is the caller's to say"),
            ("vertex_project: p", "is of LiteLLM alone"),
            ("aws_secret_access_key: s", "is of LiteLLM alone"),
            ("input_cost_per_token: 1", "is of LiteLLM alone"),
            ("azure_ad_token: t", "a token of Entra ID has no use here"),
            ("max_budget: 1", "aiproxy counts tokens, not money"),
            ("drop_params: true", "not needed"),
            ("top_p: .nan", "is a number that JSON does not have"),
        ):
            outcome = self.of_model(f"model: openai/x, {params}")
            self.assertEqual(dict(outcome.models["m"].body), {})
            self.assertIn(f"litellm_params.{params.partition(':')[0]}: {said}", outcome.notes[0])

    def test_nothing(self) -> None:
        """A key without a value says nothing."""
        outcome = self.of_model("model: openai/x, api_key: , rpm: null, temperature: ~")
        self.assertEqual((dict(outcome.models["m"].body), outcome.notes), ({}, []))


class InfoTests(ConvertingTestCase):
    """``model_info``."""

    def test_info(self) -> None:
        """The mode and the context window have a counterpart."""
        outcome = self.of_model(
            "model: openai/x", "  model_info: {mode: image_generation, max_input_tokens: 8192}"
        )
        model = outcome.models["m"]
        self.assertEqual((model.kind, model.context_window), ("image", 8192))
        self.assertEqual(outcome.notes, [])

    def test_served_modes(self) -> None:
        """Other modes need nothing, for the client's route tells them."""
        for mode in ("chat", "embedding", "audio_transcription", "rerank", "completion"):
            outcome = self.of_model("model: openai/x", f"  model_info: {{mode: {mode}}}")
            self.assertEqual((outcome.models["m"].kind, outcome.notes), ("chat", []))

    def test_other_info(self) -> None:
        """What else there is is noted."""
        for info, said in (
            ("mode: realtime", "has no counterpart"),
            ("access_groups: [a]", "has no counterpart"),
            ("base_model: azure/gpt-4o", "not needed"),
            ("supports_vision: true", "not needed"),
            ("max_tokens: 10", "not needed"),
            ("id: 'a b'", "has no counterpart"),
        ):
            outcome = self.of_model("model: openai/x", f"  model_info: {{{info}}}")
            key = info.partition(":")[0]
            self.assertEqual(
                outcome.notes, [f"4 not taken over model_list[].model_info.{key}: {said}"]
            )
