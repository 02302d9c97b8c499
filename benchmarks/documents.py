"""What is asked, in GraphQL."""

PLAIN = """
    id name description paused pauseNote version startAt endAt createdAt updatedAt
    jitterSeconds catchUpWindowSeconds retryHorizonSeconds overlapPolicy missedFirePolicy
"""
"""Fifteen fields that are columns of the row."""
AGENT = "agent { id name protocol status }"
PAGE_INFO = "pageInfo { hasNextPage endCursor }"


def page(extra: str = "", *, head: str = "query Page($first: Int!)") -> str:
    """A page with fifteen fields, the agent and cursors, and more of each schedule."""
    node = f"node {{ {PLAIN} {AGENT} {extra} }}"
    return f"{head} {{ schedules(first: $first) {{ edges {{ cursor {node} }} {PAGE_INFO} }} }}"


PAGE = page()
LIVE = "live { status asOf nextFireAt paused nextFires(first: 3) }"
LIVE_PAGE = page(LIVE)
DEFERRED_PAGE = page(f'... @defer(label: "live") {{ {LIVE} }}')
RUN = "id trigger fireAt status latencyMs"
LAST_RUN_PAGE = page(f"lastRun {{ {RUN} }}")
LAST_THREE_PAGE = page(f"runs(first: 3) {{ nodes {{ {RUN} }} }}")
ONE = f"query One($id: ID!) {{ schedule(by: {{id: $id}}) {{ {PLAIN} {AGENT} }} }}"

CLIENT_PAGE = """
query SchedulesPage($first: Int!, $withNotes: Boolean!) {
  schedules(first: $first) {
    __typename
    edges { __typename cursor node { ...ScheduleRow } }
    pageInfo { __typename hasNextPage endCursor }
  }
}
fragment ScheduleRow on Schedule {
  __typename ...Identified ...Policies
  name description paused pauseNote @include(if: $withNotes)
  version startAt endAt createdAt updatedAt deliveryMethod
  agent { __typename ...Identified ...AgentName }
}
fragment Policies on Schedule {
  jitterSeconds catchUpWindowSeconds retryHorizonSeconds overlapPolicy missedFirePolicy
}
fragment AgentName on Agent { name protocol status }
fragment Identified on Node { id }
"""
"""The same page as Relay and Apollo send it: fragments, `__typename`, the interface, a directive, a computed field."""

UPDATE = """
mutation Update($input: UpdateScheduleInput!) {
  updateSchedule(input: $input) {
    ... on ScheduleUpdated { schedule { id version description } }
    ... on UserError { code message }
  }
}
"""
CREATE = """
mutation Create($input: CreateScheduleInput!) {
  createSchedule(input: $input) {
    ... on ScheduleCreated { schedule { id version name } }
    ... on UserError { code message }
  }
}
"""
TRIGGER = """
mutation Trigger($input: TriggerScheduleInput!) {
  triggerSchedule(input: $input) {
    ... on ScheduleTriggered { run { id status } }
    ... on UserError { code message }
  }
}
"""
REGISTER = """
mutation Register($input: RegisterAgentInput!) {
  registerAgent(input: $input) {
    ... on AgentRegistered { agent { id } }
    ... on UserError { code message }
  }
}
"""
FIRES = (
    "subscription Fires($after: String) { fireStatus(after: $after) { cursor at status run { id trigger fireAt } } }"
)
EVENT_CURSOR = "{ eventCursor }"
