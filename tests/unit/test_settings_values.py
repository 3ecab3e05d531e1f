"""What the settings refuse, and that they never show what they were given."""

from pathlib import Path

import pytest

from pipelines.settings import SettingsError, read_settings

CANARY = "canary"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (variable, value)
        for variable, values in {
            "ALERT_HOURS_BEHIND": ("nan", "inf", "1e400", "1000001", "0", "-1", "week"),
            "FORGE_HOSTS": ("git.example.org", "a=cgit"),
            "FEED_STALE_HOURS": ("nan", "inf", "1000001", "0", "-1", "two"),
            "ALERT_COMMITS_BEHIND": ("9" * 30, "9" * 5_000, "0", "-1", "1.5", "nan"),
            "EXTRACT_RETRY_SECONDS": ("inf", "nan", "1e308", "0"),
            "FLEET_STATEMENT_TIMEOUT_SECONDS": ("9999999999", "2147484"),
            "FLEET_LOCK_TIMEOUT_SECONDS": ("9999999999",),
            "FAILED_RUNS_KEPT_DAYS": ("0", "-1", "1.5", "nan", "36501"),
        }.items()
        for value in values
    ],
)
def test_a_number_that_can_not_be_counted_with_is_refused(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(SettingsError, match=variable):
        read_settings()


@pytest.mark.parametrize("variable", ["FLAKELAG_UI_URL", "FLAKELAG_REPORT_URL"])
@pytest.mark.parametrize(
    "address",
    [
        "https://user:canary@dagster.example.org",
        "https://canary@dagster.example.org",
        "dagster.example.org/canary",
        "javascript:alert('canary')",
        "file:///canary",
        "https:///canary",
        "https://[canary",
        "https://dagster.example.org/canary and more",
        "https://dagster.example.org/canary\nX: y",
        "https://dagster.example.org/canary" + "x" * 1_000,
    ],
)
def test_an_address_that_can_not_be_sent_around_is_refused_and_not_shown(
    variable: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)

    with pytest.raises(SettingsError, match=variable) as refusal:
        read_settings()

    assert CANARY not in str(refusal.value)


def test_the_address_of_the_ui_has_pages_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAKELAG_UI_URL", "https://dagster.example.org/?fleet=1")

    with pytest.raises(SettingsError, match="FLAKELAG_UI_URL"):
        read_settings()


def test_addresses_of_the_ui_and_the_report_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLAKELAG_UI_URL", "https://dagster.example.org/fleet/")
    monkeypatch.setenv("FLAKELAG_REPORT_URL", "http://10.0.0.7:8080/pages/latest.html?x=1")

    settings = read_settings()

    assert settings.flakelag_ui_url == "https://dagster.example.org/fleet"
    assert settings.flakelag_report_url == "http://10.0.0.7:8080/pages/latest.html?x=1"
