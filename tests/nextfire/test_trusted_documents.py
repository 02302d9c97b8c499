"""The manifest of trusted documents, as a build writes it and as an operator sees what is wrong with it."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from nextfire.__main__ import main
from nextfire.app import create_app
from nextfire.authentication import NotConfigured
from nextfire.settings import AuthMode, Settings

PAGE = "query Page($n: Int) { agents(first: $n) { nodes { id } } }"
VIEWER = "query Viewer { viewer { authenticated } }"
WRONG = "query Wrong { agents { nodes { nope } } }"
DEAR = "query Dear { agents(first: 100) { nodes { schedules(first: 100) { nodes { id } } } } }"


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def check(directory: Path, manifest: Any) -> tuple[int, str]:
    """How `nextfire documents check` ends, and all that it prints."""
    path = directory / "manifest.json"
    path.write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    done = CliRunner().invoke(main, ["documents", "check", str(path)])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    "manifest",
    [
        {digest(text): text for text in (PAGE, VIEWER)},
        {f"sha256:{digest(text)}": text for text in (PAGE, VIEWER)},
        {
            "format": "apollo-persisted-query-manifest",
            "version": 1,
            "operations": [{"id": digest(text), "name": "X", "type": "query", "body": text} for text in (PAGE, VIEWER)],
        },
    ],
)
def test_either_form_of_a_manifest_is_read(tmp_path: Path, manifest: Any) -> None:
    # when
    code, printed = check(tmp_path, manifest)

    # then: the dearest first
    assert (code, printed.splitlines()) == (
        0,
        [f"{digest(VIEWER)}       3  Viewer", f"{digest(PAGE)}       2  Page", "2 documents, all of them valid."],
    )


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ("{", "manifest.json is not JSON."),
        ("[]", "holds no documents"),
        ({}, "holds no documents"),
        ({"format": "apollo-persisted-query-manifest", "operations": 5}, "holds no documents"),
        ({"format": "apollo-persisted-query-manifest", "operations": [{"id": "x"}]}, '"x": it is no document'),
        ({digest(PAGE): 5}, "it is no document"),
        ({"abc": PAGE}, f"abc (Page): its identifier is not its SHA-256, which is {digest(PAGE)}."),
        ({digest(WRONG): WRONG}, f"{digest(WRONG)} (Wrong): Cannot query field 'nope' on type 'Agent'."),
        ({digest("{"): "{"}, f"{digest('{')}: Syntax Error"),
        ({digest(DEAR): DEAR}, "(Dear): it costs 30,402, and at most 5,000 is allowed."),
        ({digest("fragment F on Agent { id }"): "fragment F on Agent { id }"}, "Fragment 'F' is never used."),
    ],
)
def test_what_is_wrong_is_told_with_its_name(tmp_path: Path, manifest: Any, told: str) -> None:
    # when
    code, printed = check(tmp_path, manifest)

    # then
    assert code == 1
    assert told in printed


def test_the_api_does_not_start_with_a_bad_manifest(tmp_path: Path) -> None:
    # given
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({digest(text): text for text in (VIEWER, WRONG)}))

    # when
    with pytest.raises(NotConfigured) as refused:
        create_app(
            Settings(
                database_url=SecretStr("postgresql://nobody@127.0.0.1:9/nothing"),
                auth=AuthMode.OPEN,
                trusted_documents=path,
            )
        )

    # then: named, and the good one is not
    assert "NEXTFIRE_TRUSTED_DOCUMENTS" in str(refused.value)
    assert f"{digest(WRONG)} (Wrong)" in str(refused.value)
    assert digest(VIEWER) not in str(refused.value)


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["documents", "check", str(tmp_path / "nothing.json")])

    assert done.exit_code == 1
    assert "nothing.json cannot be read: No such file or directory." in done.output
