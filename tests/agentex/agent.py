"""The agent of the tests: made with agentex-sdk, and run by the Python of .venv-agentex alone.

`AGENT_KIND` chooses the protocol. What the handlers see is told in their replies, or written to `AGENT_LOG` as one
JSON object a line.
"""

# The SDK is not in the environment of the type checker.
# mypy: disable-error-code="import-not-found, untyped-decorator, attr-defined"

import json
import os
import typing
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import typing_extensions

# agentex-sdk 0.12.0 says that it runs on Python 3.11, and imports what `typing` has from 3.12 on.
if not hasattr(typing, "override"):
    typing.override = typing_extensions.override

from agentex.lib.sdk.fastacp.fastacp import FastACP
from agentex.lib.types.fastacp import AsyncACPConfig
from agentex.types.data_content import DataContent
from agentex.types.task_message_delta import TextDelta
from agentex.types.task_message_update import (
    StreamTaskMessageDelta,
    StreamTaskMessageDone,
    StreamTaskMessageFull,
    StreamTaskMessageStart,
)
from agentex.types.text_content import TextContent

KIND = os.environ["AGENT_KIND"]


def text(content: str) -> TextContent:
    return TextContent(author="agent", content=content)


def note(handler: str, params: Any) -> None:
    seen = {"handler": handler, "params": params.model_dump(mode="json")}
    with Path(os.environ["AGENT_LOG"]).open("a") as log:
        log.write(json.dumps(seen) + "\n")


async def streamed(asked: str) -> AsyncIterator[Any]:
    yield StreamTaskMessageStart(type="start", index=0, content=text(""))
    for part in ("You ", "said ", asked):
        yield StreamTaskMessageDelta(type="delta", index=0, delta=TextDelta(type="text", text_delta=part))
    if "break" in asked:
        raise RuntimeError("broke in the middle")
    yield StreamTaskMessageDone(type="done", index=0)
    yield StreamTaskMessageFull(type="full", index=1, content=text("and that was all"))


if KIND == "sync":
    acp = FastACP.create(acp_type="sync")

    @acp.on_message_send
    async def on_message(params: Any) -> Any:
        note("message/send", params)
        match params.content.content:
            case "nothing":
                return None
            case "raise":
                raise RuntimeError("it broke")
            case "several":
                return [text("one"), DataContent(author="agent", data={"n": 2}), text("three")]
            case asked:
                return text(f"You said {asked}")

elif KIND == "streaming":
    acp = FastACP.create(acp_type="sync")

    @acp.on_message_send
    async def on_streamed_message(params: Any) -> Any:
        async for update in streamed(params.content.content):
            yield update

else:
    acp = FastACP.create(acp_type="async", config=AsyncACPConfig(type="base"))

    @acp.on_task_create
    async def on_create(params: Any) -> None:
        note("task/create", params)

    @acp.on_task_event_send
    async def on_event(params: Any) -> None:
        note("event/send", params)

    @acp.on_task_cancel
    async def on_cancel(params: Any) -> None:
        note("task/cancel", params)
