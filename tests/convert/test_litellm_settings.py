"""The settings of a LiteLLM configuration."""

from __future__ import annotations

from tests.convert.converting import ConvertingTestCase, Outcome


class SettingsTests(ConvertingTestCase):
    """``router_settings``, ``litellm_settings`` and ``general_settings``."""

    def settings(self, section: str, settings: str) -> Outcome:
        """Convert one model with these settings, in flow style."""
        return self.of_model("model: openai/x", f"{section}: {{{settings}}}")

    def test_router(self) -> None:
        """What has a counterpart is taken over."""
        for section in ("router_settings", "litellm_settings"):
            outcome = self.settings(
                section,
                "num_retries: 0, retry_after: 2, allowed_fails: 3, cooldown_time: 30,"
                " stream_timeout: 5",
            )
            config = outcome.config
            self.assertEqual((config.retry.max_retries, config.retry.base_delay), (0, 2))
            breaker = config.breaker
            self.assertEqual((breaker.failures, breaker.window, breaker.probe), (4, 60, 30))
            self.assertEqual((config.timeouts.headers, config.timeouts.first_token), (5, 5))
            self.assertEqual(outcome.notes, [])

    def test_timeouts(self) -> None:
        """``timeout`` and ``request_timeout`` are the same thing."""
        for section, name in (
            ("router_settings", "timeout"),
            ("litellm_settings", "request_timeout"),
        ):
            outcome = self.settings(section, f"{name}: 700")
            timeouts = outcome.config.timeouts
            self.assertEqual((timeouts.attempt, timeouts.total), (700, 700))
            self.assertEqual(outcome.notes, [])

    def test_variables(self) -> None:
        """Numbers may come from the environment, but for the one that we count on from."""
        outcome = self.settings(
            "router_settings",
            "num_retries: os.environ/N, timeout: os.environ/N, allowed_fails: os.environ/N",
        )
        self.assertEqual(outcome.config.retry.max_retries, 7)
        self.assertEqual(outcome.config.timeouts.attempt, 7)
        self.assertEqual(outcome.config.breaker.failures, 5)
        self.assertIn("allowed_fails: is a variable", outcome.notes[0])

    def test_router_wins(self) -> None:
        """``router_settings`` go before ``litellm_settings``, which is noted."""
        outcome = self.of_model(
            "model: openai/x",
            "router_settings: {num_retries: 1, timeout: 5}\n"
            "litellm_settings: {num_retries: 2, request_timeout: 6}",
        )
        self.assertEqual(outcome.config.retry.max_retries, 1)
        self.assertEqual(outcome.config.timeouts.attempt, 5)
        self.assertEqual(
            outcome.notes,
            [
                "5 not taken over litellm_settings.num_retries: `router_settings` say it too",
                "5 not taken over litellm_settings.request_timeout: `router_settings` say it too",
            ],
        )

    def test_for_all_models(self) -> None:
        """Defaults hold for models that say nothing else."""
        outcome = self.outcome("""
            model_list:
            - {model_name: a, litellm_params: {model: openai/a}}
            - model_name: b
              litellm_params: {model: openai/b, max_parallel_requests: 2, user: b}
            router_settings:
              default_max_parallel_requests: 9
              default_litellm_params: {user: all, rpm: 5}
            """)
        limits = {name: model.limits for name, model in outcome.models.items()}
        self.assertEqual([each.max_concurrent for each in limits.values()], [9, 2])
        self.assertEqual([each.requests_per_minute for each in limits.values()], [5, 5])
        self.assertEqual(
            [dict(m.body) for m in outcome.config.models], [{"user": "all"}, {"user": "b"}]
        )

    def test_logs(self) -> None:
        """``json_logs`` is a form of log lines."""
        self.assertEqual(
            self.settings("litellm_settings", "json_logs: true").config.server.log_format, "json"
        )
        outcome = self.settings("litellm_settings", "json_logs: false")
        self.assertEqual(outcome.config.server.log_format, "text")

    def test_sizes(self) -> None:
        """Sizes are in MiB."""
        outcome = self.settings(
            "general_settings", "max_request_size_mb: 8, max_response_size_mb: 9"
        )
        server = outcome.config.server
        self.assertEqual((server.max_request_bytes, server.max_response_bytes), (8 << 20, 9 << 20))
        outcome = self.settings("general_settings", "max_request_size_mb: 0")
        self.assertEqual(outcome.config.server.max_request_bytes, 32 << 20)
        self.assertEqual(len(outcome.notes), 1)

    def test_callbacks(self) -> None:
        """Each callback has its note."""
        for name in ("callbacks", "success_callback"):
            outcome = self.settings("litellm_settings", f"{name}: [prometheus, otel, langfuse]")
            path = f"4 not taken over litellm_settings.{name}[]: "
            self.assertEqual(
                outcome.notes,
                [
                    f"{path}not needed: `/metrics` is built in; set ADMIN_TOKEN",
                    f"{path}install the extra `otel` and set OTEL_EXPORTER_OTLP_ENDPOINT",
                    f"{path}there are no callbacks",
                ],
            )

    def test_master_key(self) -> None:
        """The master key is told to be put into the environment, and shown nowhere."""
        outcome = self.settings("general_settings", "master_key: sk-hidden")
        [note] = outcome.notes
        self.assertIn("set AUTH_TOKEN to this key", note)
        self.assertNotIn("sk-hidden", outcome.text)
        [note] = self.settings("general_settings", "master_key: os.environ/LITELLM_KEY").notes
        self.assertIn("set AUTH_TOKEN to the value of LITELLM_KEY", note)

    def test_no_counterpart(self) -> None:
        """Everything else is noted, with what there is instead."""
        for section, setting, said in (
            ("router_settings", "redis_host: h", "without Redis"),
            ("router_settings", "redis_password: h", "without Redis"),
            ("router_settings", "enable_pre_call_checks: true", "is passed by anyway"),
            ("router_settings", "max_fallbacks: 2", "each fallback is asked once"),
            ("router_settings", "retry_policy: {}", "`retry.max_retries` is for all errors"),
            ("router_settings", "routing_strategy_args: {ttl: 1}", "has no counterpart"),
            ("litellm_settings", "cache: true", "answers are not cached"),
            ("litellm_settings", "cache_params: {type: redis}", "answers are not cached"),
            ("litellm_settings", "drop_params: true", "not needed"),
            ("litellm_settings", "set_verbose: true", "`/v1/route/explain`"),
            ("general_settings", "database_url: 'postgresql://u:pw@h/d'", "there is no database"),
            ("general_settings", "store_model_in_db: true", "there is no database"),
            ("general_settings", "alerting: [slack]", "let Prometheus alert"),
            ("general_settings", "global_max_parallel_requests: 9", "set `max_concurrent`"),
            ("general_settings", "max_parallel_requests: 9", "set `max_concurrent`"),
            ("general_settings", "background_health_checks: true", "the breaker tries"),
            ("general_settings", "something_new: 1", "has no counterpart"),
        ):
            outcome = self.settings(section, setting)
            [note] = outcome.notes
            name = setting.partition(":")[0]
            self.assertTrue(note.startswith(f"4 not taken over {section}.{name}: "), note)
            self.assertIn(said, note)
            self.assertNotIn("pw", outcome.text)

    def test_impossible_numbers(self) -> None:
        """Values that are none leave the defaults in force."""
        for setting in ("num_retries: x", "allowed_fails: [1]", "cooldown_time: 0", "timeout: y"):
            outcome = self.settings("router_settings", setting)
            self.assertEqual(len(outcome.notes), 1)
            self.assertEqual(outcome.config.retry.max_retries, 3)
            self.assertEqual(outcome.config.breaker.failures, 5)
            self.assertEqual(outcome.config.timeouts.attempt, 120)

    def test_shape(self) -> None:
        """A section that is no mapping is a mistake."""
        for section in ("router_settings", "litellm_settings", "general_settings"):
            self.assertEqual(
                self.mistakes(f"model_list: []\n{section}: [1]"),
                [f"l.yaml:2: {section}: must be a mapping"],
            )
