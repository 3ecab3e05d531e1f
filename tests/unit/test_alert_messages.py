"""The message that goes out: its words, its fields and its size, whatever it is about."""

import json

import pytest

from assets.publishing.display import LONGEST_NAME, display_name
from pipelines.alerts.conditions import (
    CheckOutcome,
    FailedStep,
    Links,
    RunOutcome,
)
from pipelines.alerts.decisions import decide_on_runs
from pipelines.alerts.messages import MAX_DETAILS, MAX_DETAILS_BYTES, MAX_LINES, MAX_TEXT
from pipelines.alerts.messages import compose as compose_if_any
from tests.unit.alert_cases import (
    NOTHING_ALERTED,
    NOW,
    alert_of,
    behind,
    check,
    compose,
    failed,
    succeeded,
    system,
    text_of,
)


class TestMessages:
    def test_one_condition_is_one_line(self) -> None:
        message = compose(behind(system("web-1", 34, 290.0)), NOW)

        assert text_of(message) == (
            "flakelag: `web-1` (flake `infra`) is 34 commits and 12d 2h behind."
        )

    def test_a_storm_is_one_message_of_bounded_length(self) -> None:
        storm = behind(*(system(f"host-{n}", 30, 200.0) for n in range(20_000)))

        message = compose(storm, NOW)
        lines = text_of(message).split("\n")
        alert = alert_of(message)

        assert lines[0] == "flakelag (systems newly far behind: 20,000)"
        assert len(lines) == 1 + MAX_LINES + 1
        assert lines[-1] == "… and 19,990 more."
        assert len(alert["conditions"]) == MAX_DETAILS
        assert alert["conditions_left_out"] == 20_000 - MAX_DETAILS
        assert alert["counts"] == {"system_behind": 20_000}

    def test_kinds_are_counted(self) -> None:
        new = decide_on_runs(
            NOTHING_ALERTED, [failed("extract"), succeeded(check(passed=False))]
        ).new

        assert text_of(compose(new, NOW)).startswith(
            "flakelag (failed runs: 1, failed checks: 1)\n"
        )

    def test_two_messages_about_the_same_have_different_ids(self) -> None:
        conditions = behind(system("web-1", 34, 290.0))

        assert compose(conditions, NOW).id != compose(conditions, NOW).id

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("<!channel>", "`&lt;!channel&gt;`"),
            ("<@U123|boss> & co", "`&lt;@U123|boss&gt; &amp; co`"),
            ("@channel", "`@channel`"),
            ("a` @here `b", "`a' @here 'b`"),
            ("two\nlines", r"`two\nlines`"),
            ("\x1b[31mred", r"`\x1b[31mred`"),
            ("\u202egnp.exe", r"`\u202egnp.exe`"),
            ("x" * 253, "`" + "x" * 46 + "…1329e1…" + "x" * 46 + "`"),
        ],
    )
    def test_hostile_names_are_shown_not_obeyed(self, name: str, shown: str) -> None:
        message = compose(behind(system(name, 34, 290.0)), NOW)

        assert text_of(message).startswith(f"flakelag: {shown} (flake")
        assert alert_of(message)["conditions"][0]["hostname"] == name

    def test_names_without_end_are_bounded_and_told_apart(self) -> None:
        names = ["\U0001f427" * 10**5 + letter + "\x1b\u202e" * 10**5 for letter in "abc"]
        rows = [system(name, 34, 290.0) | {"flake_name": name} for name in names]
        message = compose(behind(*rows * 20), NOW)
        conditions = alert_of(message)["conditions"]

        assert {condition["hostname"] for condition in conditions} == set(map(display_name, names))
        assert all(len(condition["flake"]) <= LONGEST_NAME for condition in conditions)
        assert len(text_of(message)) < 5_000
        assert len(json.dumps(message.payload)) < 200_000
        assert len(message.model_dump_json()) < 200_000

    def test_a_message_has_bounded_size_whatever_its_conditions_say(self) -> None:
        steps = [FailedStep(f"step_{n}", "Failure", f"{n}" + "<宽" * 10**5) for n in range(12)]
        runs = [RunOutcome("r", f"job_{n}", "failed", steps) for n in range(40)]

        message = compose(decide_on_runs(NOTHING_ALERTED, runs).new, NOW)
        lines = text_of(message).split("\n")
        alert = alert_of(message)

        assert len(text_of(message)) < MAX_TEXT + 200
        assert lines[-1] == f"… and {40 - (len(lines) - 2)} more."
        assert len(json.dumps(message.payload)) < MAX_DETAILS_BYTES + 6 * MAX_TEXT
        assert 0 < len(alert["conditions"]) == 40 - alert["conditions_left_out"]

    def test_the_furthest_behind_come_first(self) -> None:
        message = compose(
            behind(system("c", 21, 1.0), system("b", 99, 5.0), system("a", 99, 7.0)), NOW
        )

        hosts = [condition["hostname"] for condition in alert_of(message)["conditions"]]
        assert hosts == ["a", "b", "c"]

    def test_a_heading_sums_up_and_the_report_is_linked(self) -> None:
        links = Links(None, "https://example.org/report")

        message = compose(behind(system("a", 99, 7.0)), NOW, links=links, heading="1 of 7:")

        assert text_of(message).split("\n") == [
            "flakelag: 1 of 7:",
            "• `a` (flake `infra`) is 99 commits and 7h 0m behind.",
            "https://example.org/report",
        ]
        assert alert_of(message)["report_url"] == "https://example.org/report"

    def test_without_a_condition_there_is_no_message(self) -> None:
        assert compose_if_any([], NOW) is None

    def test_a_checks_words_mention_nobody(self) -> None:
        outcome = CheckOutcome(
            "a", "c", passed=False, severity="ERROR", description="<!here> @channel\n![x](http://y)"
        )

        text = decide_on_runs(NOTHING_ALERTED, [succeeded(outcome)]).new[0].text

        assert text.endswith("(ERROR): &lt;!here&gt; @\u200bchannel ![x]\u200b(http://y)")
