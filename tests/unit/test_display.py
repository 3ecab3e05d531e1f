"""What is shown of texts that somebody else chose."""

import pytest

from assets.publishing.display import (
    LONGEST_NAME,
    LONGEST_SENTENCE,
    bounded_name,
    display_name,
    display_sentence,
)

HOSTILE_CHARACTERS = ["\u202e", "\x1b[2J", "\n", "\u200b", "\udc80", "\ufe0f", "\U000e0100", " "]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("web-01.example", "web-01.example"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u05e9\u05dc\u05d5\u05dd"),
        ("e\u0301tage", "e\u0301tage"),
        ("宽", "宽"),
        ("<b>", "<b>"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\u200bb\u2066c", r"a\u200bb\u2066c"),
        ("line\nbreak\u2028", r"line\nbreak\u2028"),
        ("\x1b[31mred\x9b", r"\x1b[31mred\x9b"),
        ("\udc80", r"\udc80"),
        ("filler\u3164\u115f", r"filler\u3164\u115f"),
        ("sel\ufe0f\U000e0100", r"sel\ufe0f\U000e0100"),
        ("hard\u00a0blank", r"hard\xa0blank"),
        ("two  blanks", r"two \x20blanks"),
        (" around ", r"\x20around\x20"),
        ("   ", r"\x20\x20\x20"),
        ("", ""),
    ],
)
def test_what_acts_or_can_not_be_seen_is_escaped(name: str, shown: str) -> None:
    assert display_name(name) == shown
    assert display_name(shown) == shown


def test_every_valid_hostname_is_shown_whole() -> None:
    assert display_name("x" * LONGEST_NAME) == "x" * LONGEST_NAME


@pytest.mark.parametrize("longest", [16, 20, 24, 40, LONGEST_NAME])
@pytest.mark.parametrize("filling", ["x", "宽", *HOSTILE_CHARACTERS])
def test_a_name_without_end_is_bounded_and_told_from_others(filling: str, longest: int) -> None:
    around = filling * 100_000
    names = [around + letter + around for letter in "abc"]

    shown = [display_name(name, longest) for name in names]

    assert len(set(shown)) == 3
    for text in shown:
        assert len(text) <= longest
        assert text.isprintable()
        assert "  " not in text
        assert display_name(text, longest) == text


def test_a_shortened_name_keeps_its_beginning_and_its_end() -> None:
    shown = display_name("web-frontend-" + "x" * 300 + "-eu-west-0001", 40)

    assert shown.startswith("web-frontend-")
    assert shown.endswith("-eu-west-0001")


def test_where_there_is_no_room_for_a_digest_the_beginning_is_shown() -> None:
    assert display_name("0123456789abcdef", 8) == "0123456…"


def test_a_program_gets_names_as_they_are_up_to_the_length_of_a_hostname() -> None:
    assert bounded_name("\u202e" * LONGEST_NAME) == "\u202e" * LONGEST_NAME
    assert bounded_name("x" * 100_000) == display_name("x" * 100_000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Over 1 %:\n  - public.x\n", "Over 1 %: - public.x"),
        ("a\x1b[31mb\u202e", r"a\x1b[31mb\u202e"),
        ("", ""),
    ],
)
def test_sentences_are_one_line(text: str, shown: str) -> None:
    assert display_sentence(text) == shown


@pytest.mark.parametrize("filling", ["x", " ", *HOSTILE_CHARACTERS])
def test_sentences_are_bounded(filling: str) -> None:
    shown = display_sentence("The server says: " + filling * 100_000)

    assert len(shown) <= LONGEST_SENTENCE
    assert shown.startswith("The server says:")
    assert shown.isprintable()
