from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from resolvers.ids import NOBODY, Kind, decode, encode, key_of


@given(st.sampled_from(Kind), st.uuids())
def test_an_id_is_read_back_as_what_it_was_made_of(kind: Kind, key: UUID) -> None:
    text = encode(kind, key)

    assert decode(text) == (kind, key)
    assert key_of(kind, text) == key


@given(st.sampled_from(Kind), st.sampled_from(Kind), st.uuids())
def test_an_id_of_another_kind_is_nobodys(kind: Kind, other: Kind, key: UUID) -> None:
    assert (key_of(other, encode(kind, key)) == key) == (kind is other)


@given(st.text() | st.from_regex(r"(Schedule|Agent|Nobody):[0-9a-fA-F-]{30,40}"))
def test_any_other_text_is_nobodys(text: str) -> None:
    decoded = decode(text)

    assert decoded is None or encode(*decoded) == text


def test_an_id_has_one_spelling() -> None:
    key = UUID("0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
    spellings = [str(key).upper(), key.hex, f"{{{key}}}", f"urn:uuid:{key}", f" {key}", f"{key}\n"]

    assert [decode(f"Agent:{spelling}") for spelling in spellings] == [None] * len(spellings)
    assert key_of(Kind.AGENT, f"agent:{key}") == NOBODY
