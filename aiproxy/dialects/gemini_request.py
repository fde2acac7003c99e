"""
From OpenAI's request to Gemini's ``generateContent``.

Source: Gemini API reference (v1beta), "GenerateContentRequest", "Tool",
"GenerationConfig"; which model takes what is known from recorded traffic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.dialects.gemini_messages import Contents
from aiproxy.dialects.refusals import cannot, wrong_value
from aiproxy.dialects.request_fields import OPENAI_ONLY
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.dialects.thought_wish import read_thought_wish
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import dumps

__all__ = ["GeminiModel", "RequestWriter"]

#: OpenAI's name of a parameter -> Gemini's, where the value is the same.
_SAME: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
#: Tools that run at Google: as the caller writes them -> Gemini's name.
_SERVER_TOOLS: Final = {
    "google_search": "googleSearch",
    "web_search": "googleSearch",
    "web_search_preview": "googleSearch",
    "url_context": "urlContext",
    "code_execution": "codeExecution",
    "code_interpreter": "codeExecution",
}
#: ``reasoning_effort`` -> tokens of thought, for 2.5; higher ones think as hard as they can.
_BUDGETS: Final = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192}
_MOST_BUDGET: Final = 24_576
#: The least that 2.5 Pro can think.
_PRO_BUDGET: Final = 128
#: ``reasoning_effort`` -> level of thought, for 3 and later; higher ones are ``high``.
_LEVELS: Final = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium"}
#: Most refuse ``minimal`` ("Thinking level MINIMAL is not supported", published); all know
#: ``low`` and ``high``.
_MINIMAL: Final = re.compile(r"gemini-3(?:\.[15])?-flash|gemini-3.*-flash-lite")
#: It has no ``medium`` (published).
_NO_MEDIUM: Final = re.compile(r"gemini-3-pro")

#: What is read here, or by :class:`Contents`; all else passes.
_READ: Final = frozenset(
    {
        *_SAME,
        *("messages", "model", "stream", "stream_options", "n", "stop", "max_tokens"),
        *("max_completion_tokens", "logprobs", "top_logprobs", "response_format", "modalities"),
        *("tools", "tool_choice", "parallel_tool_calls", "web_search_options", "functions"),
        *("function_call", "reasoning_effort", "reasoning", "extra_body", "google"),
    }
)


class GeminiModel:
    """What is known of a model by its name; aliases such as ``gemini-flash-latest`` are new."""

    def __init__(self, name: str) -> None:
        name = name.rpartition("/")[2].lower()
        old = re.match(
            r"gemini-(1\.[05]|2\.[0-9])|gemma|learnlm|gemini-(?:pro|ultra)(?:-vision)?$", name
        )
        #: 2.5, whose thoughts have a budget.
        self.has_budget = name.startswith("gemini-2.5")
        #: 3 and later.
        self.is_new = old is None
        #: It thinks, and can be told how hard.
        self.thinks = self.is_new or self.has_budget
        self.least_budget = _PRO_BUDGET if name.startswith("gemini-2.5-pro") else 0
        #: ``reasoning_effort`` -> level of thought, where a level is told.
        self.levels = dict(_LEVELS)
        if not _MINIMAL.match(name):
            self.levels |= {"none": "low", "minimal": "low"}
        if _NO_MEDIUM.match(name):
            self.levels["medium"] = "high"
        #: It fetches files on the web by itself.
        self.fetches = self.thinks


@define
class RequestWriter:
    """
    Writes one request.

    :param signature: finds the signature of a call, by its id and name.
    :ivar dropped: what of the request is not in it.
    """

    model: GeminiModel
    signature: Callable[[str, str], str | None]
    dropped: set[str] = field(init=False, factory=set)
    _config: dict[str, Any] = field(init=False, factory=dict)

    def write(self, request: ChatRequest) -> dict[str, Any]:
        """
        Return the body.

        :raises InvalidRequest: for what Gemini cannot do.
        """
        contents = Contents(self.signature, needs_signatures=self.model.is_new)
        contents.read(request)
        asked = {name: value for name, value in request.items() if value is not None}
        tools, tool_config = self._tools(asked)
        instruction = self._generation(asked, bool(tools))
        if instruction:
            contents.system.append({"text": instruction})
        body: dict[str, Any] = {"contents": contents.contents}
        if contents.system:
            body["systemInstruction"] = {"parts": contents.system}
        if tools:
            body["tools"] = tools
        if tool_config:
            body["toolConfig"] = tool_config
        if self._config:
            body["generationConfig"] = self._config
        self.dropped |= contents.dropped
        for name, value in asked.items():
            if name in OPENAI_ONLY:
                self.dropped.add(name)
            elif name not in _READ:
                _lay_over(body, name, value)
        for name, value in _google_extras(asked).items():
            if name in ("thinking_config", "thinkingConfig"):
                _lay_over(body, "generationConfig", {"thinkingConfig": value})
            else:
                _lay_over(body, name, value)
        return body

    # --- how the model answers ----------------------------------------------------------

    def _generation(self, asked: Mapping[str, Any], has_tools: bool) -> str:
        """Write the generation parameters; return an instruction that takes the place of one."""
        config = self._config
        most = asked.get("max_completion_tokens", asked.get("max_tokens"))
        if most is not None:
            config["maxOutputTokens"] = most
        for name, theirs in _SAME.items():
            if name in asked:
                config[theirs] = asked[name]
        stop = asked.get("stop")
        if stop:
            config["stopSequences"] = [stop] if isinstance(stop, str) else stop
        if asked.get("n", 1) != 1:
            config["candidateCount"] = asked["n"]
        if asked.get("logprobs"):
            config["responseLogprobs"] = True
            if asked.get("top_logprobs"):
                config["logprobs"] = asked["top_logprobs"]
        modalities = asked.get("modalities")
        if isinstance(modalities, list) and modalities != ["text"]:
            config["responseModalities"] = [str(modality).upper() for modality in modalities]
        self._think(asked)
        return self._format(asked.get("response_format"), has_tools)

    def _format(self, told: Any, has_tools: bool) -> str:
        kind = told.get("type") if isinstance(told, Mapping) else None
        if kind not in ("json_object", "json_schema"):
            return ""
        schema = None
        if kind == "json_schema":
            named = told.get("json_schema")
            schema = named.get("schema") if isinstance(named, Mapping) else None
        if has_tools and not self.model.is_new:
            # Both together are a 400 there (recorded): so it is asked in words.
            self.dropped.add("response_format")
            words = "When you give the final answer, answer in JSON only, without a code fence."
            if schema is not None:
                words += f" It must match this JSON schema: {dumps(schema).decode()}"
            return words
        self._config["responseMimeType"] = "application/json"
        if schema is not None:
            self._config["responseJsonSchema"] = schema
        return ""

    def _think(self, asked: Mapping[str, Any]) -> None:
        wish = read_thought_wish(asked)
        effort, budget = wish.effort, wish.budget
        if not wish.is_told:
            return
        if not self.model.thinks:
            self.dropped.add(wish.field)
            return
        config: dict[str, Any] = {}
        if isinstance(budget, int):
            config["thinkingBudget"] = budget
        elif isinstance(effort, str):
            if self.model.has_budget:
                tokens = _BUDGETS.get(effort, _MOST_BUDGET)
                config["thinkingBudget"] = max(tokens, self.model.least_budget)
            else:
                config["thinkingLevel"] = self.model.levels.get(effort, "high")
        if effort != "none" and not wish.hides:
            config["includeThoughts"] = True
        self._config["thinkingConfig"] = config

    # --- tools --------------------------------------------------------------------------

    def _tools(self, asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        if asked.get("functions") or asked.get("function_call"):
            raise InvalidRequest(
                "google takes no functions: write them as tools",
                param="functions",
                code="unsupported_parameter",
            )
        functions: list[dict[str, Any]] = []
        tools: list[dict[str, Any]] = []
        for place, tool in enumerate(asked.get("tools") or ()):
            self._read_tool(tool, f"tools[{place}]", functions, tools)
        if "web_search_options" in asked and {"googleSearch": {}} not in tools:
            tools.append({"googleSearch": {}})
            if asked["web_search_options"]:
                self.dropped.add("web_search_options")
        config: dict[str, Any] = {}
        functions = _chosen(functions, asked.get("tool_choice"), config)
        if functions and tools and self.model.is_new:
            config["includeServerSideToolInvocations"] = True
        if functions:
            tools.append({"functionDeclarations": functions})
        elif "functionCallingConfig" in config:
            del config["functionCallingConfig"]
        return tools, config

    def _read_tool(
        self,
        tool: Any,
        where: str,
        functions: list[dict[str, Any]],
        tools: list[dict[str, Any]],
    ) -> None:
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        told = tool.get("function") if isinstance(tool, Mapping) else None
        if isinstance(told, Mapping) and isinstance(told.get("name"), str):
            declared = {"name": told["name"]}
            if told.get("description"):
                declared["description"] = told["description"]
            if told.get("parameters"):
                declared["parametersJsonSchema"] = told["parameters"]
            if told.get("strict"):
                self.dropped.add("tools[].function.strict")
            functions.append(declared)
        elif isinstance(kind, str) and kind in _SERVER_TOOLS:
            options = {name: value for name, value in tool.items() if name != "type"}
            tools.append({_SERVER_TOOLS[kind]: options if kind in ("google_search",) else {}})
            if options and kind != "google_search":
                self.dropped.add(f"{where}.{next(iter(options))}")
        elif isinstance(tool, Mapping) and kind is None and tool:
            tools.append(dict(tool))  # Gemini's own.
        else:
            raise cannot("google", where, f"tools of the type {kind!r}")


def _chosen(
    functions: list[dict[str, Any]], choice: Any, config: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the functions that may be called; how goes into the tool configuration."""
    modes = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
    if choice is None:
        return functions
    calling: dict[str, Any] = {}
    if isinstance(choice, str) and choice in modes:
        calling["mode"] = modes[choice]
    elif isinstance(choice, Mapping) and isinstance(choice.get("function"), Mapping):
        calling = {"mode": "ANY", "allowedFunctionNames": [choice["function"].get("name")]}
    elif isinstance(choice, Mapping) and isinstance(choice.get("allowed_tools"), Mapping):
        told = choice["allowed_tools"]
        calling["mode"] = modes.get(str(told.get("mode")), "AUTO")
        listed = told.get("tools")
        allowed = {
            name
            for tool in (listed if isinstance(listed, list) else ())
            if isinstance(tool, Mapping) and isinstance(tool.get("function"), Mapping)
            if isinstance(name := tool["function"].get("name"), str)
        }
        functions = [function for function in functions if function["name"] in allowed]
    else:
        raise wrong_value("tool_choice", "none, auto, required, or name a function")
    config["functionCallingConfig"] = calling
    return functions


def _google_extras(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Google's own compatible endpoint takes under ``extra_body.google``."""
    extra: dict[str, Any] = {}
    body = asked.get("extra_body")
    for holder in (body if isinstance(body, Mapping) else {}, asked):
        google = holder.get("google")
        if isinstance(google, Mapping):
            extra.update(google)
    return extra


def _lay_over(body: dict[str, Any], name: str, value: Any) -> None:
    """Put a field of Gemini's own into the body; objects are merged."""
    ours = body.get(name)
    if isinstance(ours, dict) and isinstance(value, Mapping):
        body[name] = {**ours, **value}
    elif isinstance(ours, list) and isinstance(value, list) and name == "tools":
        body[name] = ours + value
    else:
        body[name] = value
