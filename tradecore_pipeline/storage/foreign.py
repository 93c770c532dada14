"""Parquet and Feather files that other programs wrote: their columns, batch by batch, as they are."""

from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from tradecore_pipeline.domain.errors import InvalidDataError

ForeignFormat = Literal["parquet", "feather"]

_BATCH_ROWS = 65_536
_FEATHER_1 = b"FEA1"
_DAMAGE = (pa.ArrowException, OSError, UnicodeDecodeError)
"""The last one for names of columns."""


class ForeignTable:
    """One file of somebody else's. Nothing about its columns is taken for granted but that they can be decoded."""

    def __init__(self, stream: BinaryIO, *, name: str, form: ForeignFormat) -> None:
        """Open the file in ``stream``; ``name`` is used in messages.

        Raises:
            InvalidDataError: it is not such a file.
        """
        self._name = name
        self._stream = stream
        self._parquet: pq.ParquetFile | None = None
        try:
            if form == "parquet":
                self._parquet = pq.ParquetFile(stream)
                self.names: tuple[str, ...] = tuple(self._parquet.schema_arrow.names)
            else:
                self.names = tuple(_open_feather(stream, None).schema.names)
        except _DAMAGE as error:
            if _starts_with(stream, _FEATHER_1):
                raise InvalidDataError(f"{name} is Feather version 1: write it again as version 2") from error
            raise self._damaged(error) from error

    def batches(self, columns: Sequence[int]) -> Iterator[list[pa.Array]]:
        """The columns at these positions, in that order, some ten thousand rows at a time.

        Raises:
            InvalidDataError: the file is damaged.
        """
        try:
            for batch in self._batches(columns):
                # A damaged file may decode to offsets that point outside its buffers.
                batch.validate(full=True)
                yield [_decoded(batch.column(self.names[index])) for index in columns]
        except _DAMAGE as error:
            raise self._damaged(error) from error

    def _batches(self, columns: Sequence[int]) -> Iterator[pa.RecordBatch]:
        if self._parquet is not None:
            names = [self.names[index] for index in columns]
            yield from self._parquet.iter_batches(_BATCH_ROWS, columns=names, use_threads=False)
            return
        file = _open_feather(self._stream, columns)
        for number in range(file.num_record_batches):
            yield file.get_batch(number)

    def _damaged(self, error: Exception) -> InvalidDataError:
        return InvalidDataError(f"{self._name} cannot be read: {str(error).partition(chr(10))[0]}")


def _open_feather(stream: BinaryIO, columns: Sequence[int] | None) -> ipc.RecordBatchFileReader:
    stream.seek(0)
    included = None if columns is None else sorted(set(columns))
    return ipc.open_file(stream, options=ipc.IpcReadOptions(included_fields=included, use_threads=False))


def _decoded(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if isinstance(values, pa.DictionaryArray) else values


def _starts_with(stream: BinaryIO, magic: bytes) -> bool:
    stream.seek(0)
    return stream.read(len(magic)) == magic
