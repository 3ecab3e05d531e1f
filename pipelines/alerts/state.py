"""What was alerted of, kept in a file, so that a restart neither repeats nor loses a message.

Not in the sensor's cursor: Dagster stores that only when a tick ends well, and stores it anew with
every tick, while this is written before a message goes out and can name every system of a fleet.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from assets.publishing.layout import alert_state_of
from pipelines.alerts.conditions import Condition
from pipelines.alerts.messages import Message
from pipelines.store.atomic_files import AT_ONCE, AtomicFiles, LockHeldError


class AlertStateError(Exception):
    """The kept state can't be used; the message says what to do."""


class AlertsBusyError(Exception):
    """Another process delivers alerts at this moment."""


class AlertState(BaseModel):
    """What one kind of alert has seen and sent.

    Attributes:
        version: of this layout.
        position: up to where the source was seen; None before the first look.
        alerted: ids of the conditions that stand and were alerted of, also those undelivered.
        pending: a message that is decided on but not delivered yet.
        undelivered: ids of the conditions that it is about.
        undelivered_of_runs: of these, the ones that finished runs have left; a snapshot shows its
            own again. Empty beside a message that an earlier version composed.
        not_before: the receiver asked to be left alone until then.
    """

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    position: int | str | None = None
    # Files of earlier versions say `told`.
    alerted: frozenset[str] = Field(
        default=frozenset(), validation_alias=AliasChoices("alerted", "told")
    )
    pending: Message | None = None
    undelivered: frozenset[str] = frozenset()
    undelivered_of_runs: tuple[Condition, ...] = ()
    not_before: AwareDatetime | None = None

    def without_pending(self) -> "AlertState":
        """The state when no message waits any more."""
        return self.model_copy(
            update={
                "pending": None,
                "undelivered": frozenset(),
                "undelivered_of_runs": (),
                "not_before": None,
            }
        )


class AlertStateFile:
    """The file that keeps one `AlertState`; each change replaces it whole."""

    def __init__(self, reports_dir: Path, name: str) -> None:
        self._files = AtomicFiles(reports_dir, lock_timeout=AT_ONCE)
        self._path = self._files.root / alert_state_of(name)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Holds the state for one process at a time.

        Raises:
            AlertsBusyError: another process holds it.
        """
        with ExitStack() as held:
            try:
                held.enter_context(self._files.locked(self._path))
            except LockHeldError:
                raise AlertsBusyError(f"{self._path.name} is held by another process.") from None
            yield

    def load(self) -> AlertState:
        """Reads the state; one that was never written is empty.

        Raises:
            AlertStateError: the file holds something else.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return AlertState()
        try:
            return AlertState.model_validate_json(text)
        except ValidationError:
            raise AlertStateError(
                f"{self._path} can't be understood. Delete it to begin anew; what stands then is "
                "alerted of once more."
            ) from None

    def save(self, state: AlertState) -> None:
        """Writes the state so that a crash leaves either the old one or the new one.

        The caller has it for itself (`exclusive`).

        Raises:
            ReportStoreError: the disk is full, and the like.
        """
        self._files.replace(self._path, state.model_dump_json().encode())
