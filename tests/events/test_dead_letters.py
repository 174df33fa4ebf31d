"""Dead letters keep the original bytes whole, whatever they are."""

from hypothesis import given
from hypothesis import strategies as st

from events.bus import MAX_MESSAGE_BYTES, Record
from events.codec import BadEvent
from events.dead_letters import DeadLetter, dead_letter, decode, encode

texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(
        DeadLetter,
        texts,
        st.integers(0, 99),
        st.integers(0, 2**60),
        *[texts] * 4,
        st.integers(0, 2**50),
        st.binary(),
    )
)
def test_a_dead_letter_comes_back_from_its_json(letter: DeadLetter) -> None:
    assert decode(encode(letter)) == letter


def test_ten_megabytes_are_kept_whole_and_fit_the_bus() -> None:
    original = bytes(range(256)) * 40_000
    why = BadEvent("too_long", "event", "at most 1000000 bytes", "10240000 bytes")
    raw = encode(dead_letter(Record("shop", 1, 17, b"k", original), why, 1_500_000_000_000))
    assert len(raw) < MAX_MESSAGE_BYTES
    letter = decode(raw)
    assert letter.original == original
    assert (letter.topic, letter.partition, letter.position, letter.at) == ("shop", 1, 17, 1_500_000_000_000)
    assert (letter.reason, letter.place, letter.expected, letter.found) == (
        why.reason,
        why.place,
        why.expected,
        why.found,
    )
