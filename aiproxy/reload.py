"""Loading the configuration anew, while everything runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from aiproxy.config.load import Loaded
from aiproxy.errors import ConfigurationError, Problem

__all__ = ["Reloader"]


class Reloader:
    """
    Loads the configuration and has it used, one time after the other.

    One that cannot be used changes nothing, and is logged with file and line.

    :param load: reads and checks it; called in a thread, for it may take a second.
    :param current: returns what is served by.
    :param use: serves by it; returns what takes effect only with a restart.
    :param in_thread: calls a function off the reactor's thread.
    """

    _log = Logger()

    def __init__(
        self,
        load: Callable[[], Loaded],
        current: Callable[[], Loaded],
        use: Callable[[Loaded], Awaitable[Sequence[str]]],
        in_thread: Callable[[Callable[[], Loaded]], Deferred[Loaded]],
    ) -> None:
        self._load = load
        self._current = current
        self._use = use
        self._in_thread = in_thread
        # What has changed since the last one began to read needs another one.
        self._turn = DeferredLock()

    async def reload(self) -> dict[str, object]:
        """
        Do it; return what there is to say about it.

        :raises ConfigurationError: the old one goes on.
        """
        await self._turn.acquire()
        try:
            loaded = await self._in_thread(self._load)
            _refuse_lost(self._current(), loaded)
            later = await self._use(loaded)
        except ConfigurationError as error:
            self._log.error(
                "the configuration was not reloaded, the old one goes on:\n{error}", error=error
            )
            raise
        finally:
            self._turn.release()
        for warning in loaded.warnings:
            self._log.warn("{warning}", warning=str(warning))
        for note in later:
            self._log.warn("{note}: takes effect with a restart", note=note)
        file = loaded.file or "none, the built-in one"
        self._log.info(
            "reloaded the configuration: {count} model{s}; configuration: {file}",
            count=len(loaded.config.models),
            s="" if len(loaded.config.models) == 1 else "s",
            file=file,
        )
        return {
            "object": "reload",
            "configuration": file,
            "models": len(loaded.config.models),
            "warnings": [str(warning) for warning in loaded.warnings],
            "needs_restart": list(later),
        }

    def reload_soon(self) -> None:
        """Do it because of a signal: nobody waits, and the log has what there is to say."""

        def failed(failure: Any) -> None:
            if not failure.check(ConfigurationError):
                self._log.failure("reloading the configuration failed", failure)

        Deferred.fromCoroutine(self.reload()).addErrback(failed)


def _refuse_lost(before: Loaded, loaded: Loaded) -> None:
    """
    See that no file that was found by itself has gone: its place may be empty for a moment.

    :raises ConfigurationError: one has.
    """
    files = ((before.file, loaded.file), (before.env_file, loaded.env_file))
    lost = [old for old, new in files if old is not None and new is None]
    if lost:
        raise ConfigurationError(
            Problem("is no longer there; without it you have to restart", file) for file in lost
        )
