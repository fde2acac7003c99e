"""
Fakes made of real parts, for tests of one's own.

A :class:`ScriptedProvider` stands in the place of a provider, and the test
plays it.  A :class:`ChaosUpstream` is a server on a real socket that plays a
script of faults.
"""

from aiproxy.providers.chaos.upstream import ChaosUpstream, SeenRequest
from aiproxy.testing.scripted import (
    ScriptedCall,
    ScriptedProvider,
    ScriptedReply,
    chat_answer,
    chat_stream,
)

__all__ = [
    "ChaosUpstream",
    "ScriptedCall",
    "ScriptedProvider",
    "ScriptedReply",
    "SeenRequest",
    "chat_answer",
    "chat_stream",
]
