"""What the tests of the sensors may change between two ticks, and how one is evaluated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from pipelines.settings import Settings

CANARY = "c4n4ry-password"


@dataclass
class Configured:
    """The settings, which a test may change between two ticks."""

    settings: Settings

    def change(self, **values: Any) -> None:
        self.settings = self.settings.model_copy(update=values)


class Source:
    """What the job below does next."""

    is_up = True
    check_passes = True
    failure: Exception | None = None


Run = Callable[[], str]
RunDays = Callable[[str, str], str]
Tick = Callable[[], str]


def tick(defs: dg.Definitions, instance: dg.DagsterInstance, name: str) -> str:
    """Evaluates a sensor as the daemon does, and says why it asked for no run."""
    with dg.build_sensor_context(instance=instance, definitions=defs) as context:
        evaluation = defs.get_repository_def().get_sensor_def(name).evaluate_tick(context)
    assert evaluation.skip_message is not None
    return evaluation.skip_message
