"""What follows from a role, and from a selector."""

from uuid import uuid4

import pytest

from services import authorization
from services.authorization import (
    Action,
    OpenAuthorizer,
    Question,
    ResourceType,
    RoleAuthorizer,
    agent_resource,
    schedule_resource,
    selected_id,
    task_resource,
)
from services.principals import OPEN_ACTOR, Actor, Role

ACTIONS = [each for each in vars(authorization).values() if isinstance(each, Action)]
NOBODY = Actor("acme")


def allowed(role: Role) -> set[tuple[str, str]]:
    actor = Actor("acme", role=role)
    return {(each.type.value, each.verb) for each in ACTIONS if RoleAuthorizer().known(actor, each)}


def test_each_role_may_do_what_the_one_before_may_and_more() -> None:
    sees = {("agent", "see"), ("schedule", "see"), ("task", "see")}
    changes = {("schedule", "change"), ("schedule", "run"), ("schedule", "delete")}
    runs = {("agent", "run"), ("agent", "schedule runs of")}
    manages = {("agent", "register"), ("agent", "change"), ("agent", "delete")}
    assert allowed(Role.VIEWER) == sees
    assert allowed(Role.EDITOR) == sees | changes | runs
    assert allowed(Role.OPERATOR) == sees | changes | runs | manages


async def test_without_a_role_nothing_is_allowed_but_in_open_mode() -> None:
    questions = [Question(each, agent_resource(uuid4())) for each in ACTIONS]
    assert not any(await RoleAuthorizer().allowed(NOBODY, questions))
    assert await RoleAuthorizer().readable(NOBODY, ResourceType.AGENT) == frozenset()
    assert all(await OpenAuthorizer().allowed(OPEN_ACTOR, questions))
    assert await OpenAuthorizer().readable(OPEN_ACTOR, ResourceType.AGENT) is None


def test_a_selector_leads_back_to_its_row() -> None:
    agent_id, schedule_id, task_id = uuid4(), uuid4(), uuid4()
    resource = schedule_resource(agent_id, schedule_id)
    assert resource.selector == f"run-schedule::{agent_id}::{schedule_id}"
    assert selected_id(resource.type, resource.selector) == schedule_id
    for resource, key in ((agent_resource(agent_id), agent_id), (task_resource(task_id), task_id)):
        assert selected_id(resource.type, resource.selector) == key


@pytest.mark.parametrize(
    "selector",
    ["", "*", "::", "run-schedule::*", "run-schedule::a::b", "0197c3a1-0000-7000-8000-000000000000", "x::y::z"],
)
def test_a_selector_of_someone_else_leads_nowhere(selector: str) -> None:
    assert selected_id(ResourceType.SCHEDULE, selector) is None
