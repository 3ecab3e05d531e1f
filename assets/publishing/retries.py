"""What a step does when the world outside fails it: try again where that can help, else say why."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import dagster as dg

from assets.publishing.interfaces import OutsideFailure

MOST_RETRIES = 3


@dataclass(frozen=True)
class Retries:
    """How a step is tried again.

    Attributes:
        first_pause_seconds: before the first retry; it doubles each time.
    """

    first_pause_seconds: float

    @contextmanager
    def of(self, context: dg.AssetExecutionContext) -> Iterator[None]:
        """Turns a failure of the outside world into a retry of the step, or into a plain failure.

        Raises:
            dg.RetryRequested: trying again may help, and has not been tried too often.
            dg.Failure: it may not, or has; the description is the failure's own message.
        """
        try:
            yield
        except OutsideFailure as failure:
            # From None: Dagster shows what an exception came from, and a driver's may quote a URL.
            if not failure.retryable or context.retry_number >= MOST_RETRIES:
                raise dg.Failure(str(failure), allow_retries=False) from None
            pause = self.first_pause_seconds * 2**context.retry_number
            context.log.warning(f"{failure} Trying again in {pause:g} s.")
            raise dg.RetryRequested(max_retries=MOST_RETRIES, seconds_to_wait=pause) from None
