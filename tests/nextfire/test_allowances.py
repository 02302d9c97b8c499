"""What the settings say of limits, and that the product holds callers to it by their names."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from nextfire.allowances import allowances, limits, may_introspect, rate_limit
from nextfire.embedded import Temporal
from nextfire.settings import Settings
from nextfire.transport import Allowances
from tests.nextfire.test_keys import Caller, serving

DATABASE = "postgresql://nobody@127.0.0.1:9/nothing"
TYPES = "{ __schema { queryType { name } } }"
VIEWER = "{ viewer { authenticated } }"


def settings(**values: Any) -> Settings:
    return Settings(database_url=DATABASE, **values)  # type: ignore[arg-type]  # as from the environment


def test_callers_with_names_are_held_to_the_defaults() -> None:
    told = settings(auth="keys")

    assert allowances(told) == Allowances(operations=50, subscriptions=500, sockets=50)
    assert (limit := rate_limit(told)) is not None
    assert limit.cost == 500_000
    assert limits(told).max_cost == 5_000
    assert may_introspect(told) is not None


def test_where_all_callers_are_one_only_what_was_set_is_held() -> None:
    assert allowances(settings(auth="open")) == Allowances()
    assert rate_limit(settings(auth="open")) is None
    assert allowances(settings(auth="open", max_sockets=3)) == Allowances(sockets=3)


def test_nought_is_any_number() -> None:
    told = settings(
        auth="jwt", max_sockets=0, max_subscriptions=0, max_concurrent_operations=0, rate_limit_cost_per_minute=0
    )

    assert allowances(told) == Allowances()
    assert rate_limit(told) is None


@pytest.mark.parametrize("store", ["", "redis", "http://127.0.0.1", "redis://", "postgresql://127.0.0.1"])
def test_what_is_no_store_is_refused(store: str) -> None:
    with pytest.raises(ValidationError, match="the address of a Redis"):
        settings(auth="keys", rate_limit_store=store)


def test_callers_are_counted_by_name_and_roles_decide_about_introspection(
    database_url: str, temporal: Temporal, tmp_path: Path
) -> None:
    budget = {"NEXTFIRE_RATE_LIMIT_COST_PER_MINUTE": "200", "NEXTFIRE_MAX_COST": "50"}
    with serving(database_url, temporal, tmp_path, **budget) as (running, cli):
        # given two keys of one service account, and one of another
        viewer, second = (Caller(running, cli.create("--name", "page", "--role", "viewer")) for _ in range(2))
        operator = Caller(running, cli.create("--name", "ops", "--role", "operator"))

        # when
        answer = viewer.post(VIEWER).json()
        refused = viewer.post(TYPES).json()
        read = operator.post(TYPES).json()
        dear = operator.post("{ agents(first: 100) { nodes { id } } }").json()
        spent = second.post(VIEWER.replace("{ auth", "{ a: auth")), viewer.post("{ nope }"), second.post(VIEWER)

        # then
        assert answer == {
            "data": {"viewer": {"authenticated": True}},
            "extensions": {"cost": {"requested": 3, "limit": 50}},
        }
        assert refused["errors"][0]["extensions"] == {"code": "INTROSPECTION_DISABLED"}
        assert read["data"] == {"__schema": {"queryType": {"name": "Query"}}}
        assert dear["errors"][0]["extensions"] == {
            "code": "OPERATION_TOO_COMPLEX",
            "cost": {"requested": 302, "limit": 50},
        }
        assert [each.status_code for each in spent] == [200, 200, 429]
        assert spent[2].json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"
        assert operator.post(VIEWER).status_code == 200
