"""A bank account that is known by its files: CSV with a column map, OFX or QFX, or our own columns."""

from datetime import date
from functools import cached_property

from flows.connectors import Delivery, up_to
from flows.connectors.formats import Statement
from flows.connectors.formats.gathered import Source, gathered, rows, through


class FileBank:
    """The files speak as far as they say themselves, or else as far as their newest line."""

    def __init__(self, source: Source, today: date):
        self.bank_id, self._source, self._today = source.id, source, today

    @cached_property
    def _files(self) -> list[Statement]:
        return gathered(self._source, "bank_lines")

    def lines(self, until: date) -> Delivery:
        delivered = up_to(rows(self._source, self._files, "bank_lines"), "posted_on", until, self._today)
        stated = through(self._files, "bank_lines", until, self._today)
        return Delivery(self.bank_id, "bank_lines", stated, delivered)
