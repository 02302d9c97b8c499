"""What schemathesis has to be told; read by the Python of .venv-attacks alone. `ANSWERS` gets the answers, one a line.

Its own check takes every error without data for one of the server's, and ours may be the caller's doing.
"""

# The tool is not in the environment of the type checker.
# mypy: disable-error-code="import-not-found, untyped-decorator"

import json
import os
from typing import Any

import schemathesis
from hypothesis import strategies as st
from hypothesis_graphql import nodes

OF_THE_SERVER = {"INTERNAL", "UNAVAILABLE", "TIMEOUT", None}

TEXT = st.text(max_size=40)
TIMES = st.datetimes().map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S}Z")
ZONES = st.sampled_from(["UTC", "Europe/Berlin"])

schemathesis.graphql.scalar("DateTime", (TIMES | TEXT).map(nodes.String))
schemathesis.graphql.scalar("TimeZone", (ZONES | TEXT).map(nodes.String))
schemathesis.graphql.scalar("URL", (st.just("http://127.0.0.1:9") | TEXT).map(nodes.String))
schemathesis.graphql.scalar("JSON", st.builds(nodes.Object, fields=st.just([])) | TEXT.map(nodes.String))


@schemathesis.check
def no_error_of_the_server(_context: Any, response: Any, _case: Any) -> None:
    """Every error has a code, and the code says that it was the caller's."""
    with open(os.environ["ANSWERS"], "a") as answers:
        answers.write(json.dumps(response.text) + "\n")
    assert response.status_code < 500, response.text
    for error in response.json().get("errors", []):
        assert error.get("extensions", {}).get("code") not in OF_THE_SERVER, response.text
