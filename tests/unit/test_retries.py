"""What becomes of a step that the world outside fails: in a real run of one asset."""

from collections.abc import Sequence

import dagster as dg
import pytest

from assets.publishing.interfaces import OutsideFailure
from assets.publishing.retries import Retries

PAUSE = 0.001


class Passing(OutsideFailure):
    """Trying again may help."""

    retryable = True


class Lasting(OutsideFailure):
    """Trying again does not help."""


def run(failures: Sequence[Exception | None]) -> tuple[dg.ExecuteInProcessResult, int]:
    """Runs a step whose tries fail like this, the first of them first; how often it was tried."""
    tries = iter(failures)
    tried = 0

    @dg.asset
    def step(context: dg.AssetExecutionContext) -> None:
        nonlocal tried
        tried += 1
        with Retries(PAUSE).of(context):
            failure = next(tries)
            if failure is not None:
                # As a driver's error, which may quote a URL, is behind ours.
                raise failure from ConnectionError("postgresql://user:secret@host")

    return dg.materialize([step], raise_on_error=False), tried


def pauses(result: dg.ExecuteInProcessResult) -> list[float | None]:
    return [
        event.step_retry_data.seconds_to_wait
        for event in result.all_events
        if event.is_step_up_for_retry
    ]


def test_a_failure_that_passes_is_outlasted_with_longer_and_longer_pauses() -> None:
    result, tried = run([Passing("busy"), Passing("busy"), Passing("busy"), None])

    assert result.success
    assert tried == 4
    assert pauses(result) == pytest.approx([PAUSE, 2 * PAUSE, 4 * PAUSE])


@pytest.mark.parametrize(
    ("failures", "tries"),
    [([Passing("Can't be reached.")] * 9, 4), ([Lasting("Can't be reached.")] * 9, 1)],
    ids=["too often", "in vain"],
)
def test_what_does_not_pass_fails_with_its_own_words_and_no_others(
    failures: Sequence[Exception], tries: int
) -> None:
    result, tried = run(failures)

    assert not result.success
    assert tried == tries
    [failed] = [event for event in result.all_events if event.is_step_failure]
    data = failed.step_failure_data
    assert data.user_failure_data is not None
    assert data.user_failure_data.description == "Can't be reached."
    told = str([event.event_specific_data for event in result.all_events])
    assert "secret" not in told


def test_a_fault_of_our_own_is_not_tried_again() -> None:
    result, tried = run([ValueError("ours")] * 9)

    assert not result.success
    assert tried == 1
