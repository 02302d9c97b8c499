"""The inputs of the mutations on agents, and what they mean."""

from typing import cast

import strawberry

from schema.enums import InputType
from schema.reading import Change, Reader, changes, plain
from schema.scalars import JSON
from services.agent import AgentProtocol
from services.agents import AgentChanges
from services.schedule import Author, InitialInput, OnUnknown

ABSENT = strawberry.UNSET


@strawberry.input(description="A new agent.")
class RegisterAgentInput:
    name: str = strawberry.field(description="1 to 64 of a-z, 0-9 and -; not the name of another live agent.")
    description: str | None = strawberry.field(default=ABSENT, description="At most 1,000 characters.")
    protocol: AgentProtocol = strawberry.field(description="How it speaks ACP.")
    url: str = strawberry.field(
        description="The base URL of its ACP server: http or https, at most 2,000 characters, without credentials."
    )
    api_key: str | None = strawberry.field(
        default=ABSENT, description="The key that requests to it carry: stored encrypted, and never read back."
    )


@strawberry.input(description="Only the fields that are present change; an explicit null clears a nullable one.")
class UpdateAgentInput:
    id: strawberry.ID = strawberry.field(description="The agent.")
    expected_version: int = strawberry.field(description="The version that the caller has read.")
    name: strawberry.Maybe[str | None] = strawberry.field(description="A new name; may not be null.")
    description: strawberry.Maybe[str | None] = strawberry.field(description="A new description; null for none.")
    protocol: strawberry.Maybe[AgentProtocol | None] = strawberry.field(description="A new protocol; may not be null.")
    url: strawberry.Maybe[str | None] = strawberry.field(description="A new base URL; may not be null.")
    api_key: strawberry.Maybe[str | None] = strawberry.field(description="A new key; null for none.")


@strawberry.input(description="Which agent to delete.")
class DeleteAgentInput:
    id: strawberry.ID = strawberry.field(description="The agent.")
    expected_version: int | None = strawberry.field(
        default=ABSENT, description="The version that the caller has read; deleted at any version if absent."
    )


@strawberry.input(name="InitialInputInput", description="What a fire sends to the agent.")
class InitialInputInput:
    type: InputType | None = strawberry.field(default=InputType.TEXT, description="The form of the content.")
    author: Author | None = strawberry.field(default=Author.USER, description="Who the agent is told says it.")
    content: str = strawberry.field(description="The text: not blank, at most 64 KiB as UTF-8.")


@strawberry.input(description="One run of an agent, now and without a schedule.")
class RunAgentInput:
    agent_id: strawberry.ID = strawberry.field(description="The agent.")
    initial_input: InitialInputInput = strawberry.field(description="What to send to it.")
    task_params: JSON | None = strawberry.field(default=ABSENT, description="The params of the task.")
    task_metadata: JSON | None = strawberry.field(
        default=ABSENT,
        description="Added to the metadata of the task; of Nextfire's own keys it can set display_name only.",
    )
    on_unknown: OnUnknown | None = strawberry.field(
        default=OnUnknown.RETRY, description="What to do when nobody can know whether the agent got it."
    )
    idempotency_key: str | None = strawberry.field(
        default=ABSENT, description="One key, one run: at most 200 characters. The same request again answers the same."
    )


def initial_input(input: InitialInputInput) -> InitialInput:
    return InitialInput(
        content=input.content, author=input.author or Author.USER, type=(input.type or InputType.TEXT).value
    )


_FIELDS = (
    Change("name", "name", "name", plain),
    Change("description", "description", "description", plain, null=None),
    Change("protocol", "protocol", "protocol", plain),
    Change("url", "url", "url", plain),
    Change("api_key", "apiKey", "api_key", plain, null=None),
)


def agent_changes(reader: Reader, input: UpdateAgentInput) -> AgentChanges:
    return cast("AgentChanges", changes(reader, input, _FIELDS))
