"""Which extract last gave the rows of a published partition.

A partition that a later extract only confirms keeps its bytes, so its footer can't say that it was
confirmed; a record beside it does, and keeps an extract between the two from replacing it.

A record counts only together with the footer that it names. If a process dies after it replaced a
file and before it wrote the record, the old record is void, and the new footer speaks for itself.
"""

import datetime as dt
import json
import logging
from pathlib import Path

from assets.publishing.layout import file_of, record_of
from pipelines.store.atomic_files import AtomicFiles

_logger = logging.getLogger(__name__)


class Confirmations:
    """The records: one small file a partition. The caller holds the lock of the partition."""

    def __init__(self, files: AtomicFiles) -> None:
        self._files = files

    def record(
        self,
        dataset: str,
        date: dt.date,
        *,
        extracted_at: dt.datetime,
        confirmed_extracted_at: dt.datetime,
        run_id: str,
    ) -> None:
        """Writes down that an extract gave the rows that are published.

        Args:
            dataset: its name.
            date: the day (UTC).
            extracted_at: as the footer of the published file has it.
            confirmed_extracted_at: of the extract that gave the same rows.
            run_id: of the run that computed them.

        Raises:
            ReportStoreError: the disk is full, and the like.
        """
        path = self._path(dataset, date)
        record = {
            "extracted_at": extracted_at.astimezone(dt.UTC).isoformat(),
            "confirmed_extracted_at": confirmed_extracted_at.astimezone(dt.UTC).isoformat(),
            "confirmed_by_run": run_id,
        }
        partition = self._files.root / file_of(dataset, date)
        # Not made durable: with the machine, no more is lost than the confirmation.
        self._files.replace(path, json.dumps(record).encode(), durable=False, locked=partition)

    def newest(self, dataset: str, date: dt.date, extracted_at: dt.datetime) -> dt.datetime:
        """The newest extract that gave the rows of the file whose footer has `extracted_at`."""
        path = self._path(dataset, date)
        try:
            record = json.loads(path.read_text("utf-8"))
            named = dt.datetime.fromisoformat(record["extracted_at"])
            confirmed = dt.datetime.fromisoformat(record["confirmed_extracted_at"])
        except FileNotFoundError:
            return extracted_at
        except (ValueError, KeyError, TypeError) as error:
            _logger.warning("%s can't be read (%s); it is written anew.", path, error)
            return extracted_at
        return max(extracted_at, confirmed) if named == extracted_at else extracted_at

    def _path(self, dataset: str, date: dt.date) -> Path:
        return self._files.root / record_of(dataset, date)
