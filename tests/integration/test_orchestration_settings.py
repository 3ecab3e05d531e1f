"""Settings that can't be read, where Dagster reads them: in runs and in sensors."""

from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import defs
from pipelines.jobs import PAGES_JOB
from pipelines.sensors import build_sensors
from pipelines.settings import SettingsError, read_settings
from tests.integration.pipeline import today

UNCLOSED = 'REPORTS_DIR="canary\n'


@pytest.fixture(autouse=True)
def _beside_a_file_that_can_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text(UNCLOSED)


def test_a_run_fails_with_the_reason_and_reads_nothing(tmp_path: Path) -> None:
    result = defs.resolve_job_def(PAGES_JOB).execute_in_process(
        partition_key=today(), raise_on_error=False
    )

    assert not result.success
    [failed] = [event for event in result.all_events if event.is_job_failure]
    error = failed.job_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    assert error is not None
    assert f"{tmp_path / '.env'}, line 1" in error.message
    assert "canary" not in str(error)
    assert [file.name for file in tmp_path.iterdir()] == [".env"]


def test_sensors_fail_with_the_reason(tmp_path: Path) -> None:
    for sensor in build_sensors(read_settings):
        with pytest.raises(SettingsError, match=r"\.env, line 1"):
            sensor.evaluate_tick(dg.build_sensor_context())
