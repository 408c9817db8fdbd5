"""A worker's log records, on their way to its parent."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from plait._processes import pickling

if TYPE_CHECKING:
    from collections.abc import Callable

    from plait._engine import ProcessWorker

__all__ = ["forward", "prepare"]

# A record of the ring is not longer; what is, is cut.
_LONGEST = 48 << 10


_prepared: _Forward | None = None


def prepare() -> None:
    """Make what `forward` needs: for a zygote, so that its children need not."""
    global _prepared
    _prepared = _prepared or _Forward()


def forward(worker: ProcessWorker) -> None:
    """From now on the worker's parent handles what no handler here does."""
    prepare()
    assert _prepared is not None
    _prepared.worker = worker
    logging.lastResort = _prepared


class _Forward(logging.Handler):
    """Sends records for which the worker has no handler of its own to the parent, whose handlers get them."""

    worker: ProcessWorker

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self._stderr = logging.StreamHandler()

    def emit(self, record: logging.LogRecord) -> None:
        """Send the record, with its text made and everything left out that may have no pickle."""
        try:
            sent = self._prepared(record)
            data = pickling.whole(sent, False)
            if len(data) > _LONGEST:
                sent.msg = sent.message = sent.msg[: _LONGEST // 8] + " [...]"
                sent.exc_text = (sent.exc_text or "")[-_LONGEST // 8 :] or None
                data = pickling.whole(sent, False)
            if len(data) > _LONGEST or not self.worker.log(data):
                self._stderr.emit(record)
        except Exception:
            self.handleError(record)

    def _prepared(self, record: logging.LogRecord) -> logging.LogRecord:
        text = record.getMessage()
        if record.exc_info and not record.exc_text:
            record.exc_text = _FORMAT(record.exc_info)
        sent = logging.makeLogRecord(record.__dict__)
        sent.msg = sent.message = text
        sent.args = sent.exc_info = None
        return sent


_FORMAT: Callable[[Any], str] = logging.Formatter().formatException
