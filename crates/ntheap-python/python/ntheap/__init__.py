"""The heaps inside Windows full-memory crash dumps: which heap grew, which block size, from which stack.

>>> import ntheap
>>> before, after = ntheap.open("before.dmp"), ntheap.open("after.dmp")   # doctest: +SKIP
>>> print(ntheap.diff(before, after).verdict)                             # doctest: +SKIP
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from . import _native
from ._native import DumpError, __version__

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

__all__ = [
    "Diff",
    "Dump",
    "DumpError",
    "Heap",
    "Leaks",
    "Table",
    "Types",
    "__version__",
    "compare_types",
    "diff",
    "open",
]

Row = dict[str, Any]


class Table(Sequence[Row]):
    """Rows as dictionaries, and an Arrow table whose columns other libraries take without copying them.

    ``polars.DataFrame(table)``, ``pyarrow.table(table)``, ``pandas.DataFrame.from_arrow(table)`` and whatever else
    knows the Arrow PyCapsule interface take it as it is.
    """

    def __init__(self, native: _native.Table) -> None:
        self._native = native

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._native.columns

    def __len__(self) -> int:
        return len(self._native)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return self._native.rows(start, max(start, stop))
            return [self[number] for number in range(start, stop, step)]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError("row out of range")
        return self._native.rows(number, number + 1)[0]

    def __iter__(self) -> Iterator[Row]:
        part = 1024
        for start in range(0, len(self), part):
            yield from self._native.rows(start, start + part)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The table through the Arrow C stream interface."""
        return self._native.__arrow_c_stream__(requested_schema)

    def to_arrow(self) -> pyarrow.Table:
        """The table for pyarrow."""
        import pyarrow

        return pyarrow.table(self)

    def to_pandas(self) -> pandas.DataFrame:
        """The table for pandas."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """The table for polars."""
        import polars

        return polars.DataFrame(self)

    def __repr__(self) -> str:
        return f"<ntheap.Table: {len(self)} rows of {', '.join(self.columns)}>"


@dataclass(frozen=True)
class Heap:
    """A heap with its totals; sizes are in bytes."""

    handle: int
    kind: str
    flags: int
    busy_blocks: int
    busy_bytes: int
    free_blocks: int
    free_bytes: int
    largest_free: int
    reserved: int | None
    committed: int | None
    traced_blocks: int
    unread_bytes: int


class _Report:
    """A report whose fields are those of the program's JSON."""

    def __init__(self, text: str) -> None:
        self._data: dict[str, Any] = json.loads(text)

    def to_dict(self) -> dict[str, Any]:
        """The whole report, as ``--format json`` has it."""
        return self._data


class Diff(_Report):
    """What grew between dumps."""

    def __init__(self, text: str, heaps: Table, groups: Table) -> None:
        super().__init__(text)
        self.heaps = heaps
        """The heaps, in order of growth."""
        self.groups = groups
        """Block sizes that changed, in each heap; a row a stack where blocks have stacks."""

    @property
    def verdict(self) -> str:
        """The result in words."""
        return self._data["verdict"]

    @property
    def suspects(self) -> list[dict[str, Any]]:
        """What grew and why it is suspect, the worst first."""
        return self._data["judgement"]["suspects"]

    @property
    def complete(self) -> bool:
        """Whether everything of all dumps was read."""
        return self._data["complete"]

    @property
    def missing(self) -> list[str]:
        """What could not be read, in words."""
        return self._data.get("missing", [])

    @property
    def warnings(self) -> list[str]:
        """What makes the comparison doubtful."""
        return self._data["warnings"]

    @property
    def delta_bytes(self) -> int:
        """Growth of all heaps in bytes."""
        return self._data["total"]["delta_bytes"]

    @property
    def delta_blocks(self) -> int:
        """Growth of all heaps in blocks."""
        return self._data["total"]["delta_blocks"]

    def __repr__(self) -> str:
        return f"<ntheap.Diff: {self.verdict}>"


class Leaks(_Report):
    """What is lost: nothing leads to it any more."""

    def __init__(self, text: str, records: Table) -> None:
        super().__init__(text)
        self.records = records
        """Blocks of one class, type, size and stack together, those that keep most first."""

    @property
    def summary(self) -> dict[str, dict[str, int]]:
        """Blocks and bytes of each class: definite, indirect, possible, reachable."""
        return self._data["summary"]

    @property
    def doubt(self) -> dict[str, Any]:
        """What the dump does not show."""
        return self._data["doubt"]


class Types(_Report, Table):
    """What blocks are."""

    def __init__(self, text: str, native: _native.Table) -> None:
        _Report.__init__(self, text)
        Table.__init__(self, native)

    @property
    def explained(self) -> dict[str, Any]:
        """How much of the blocks has a type."""
        return self._data["explained"]

    @property
    def texts(self) -> list[dict[str, Any]]:
        """Texts that are stored more than once."""
        return self._data["texts"]


class Dump:
    """An opened dump. Each method reads it anew, without the interpreter's lock."""

    def __init__(self, native: _native.Dump, path: str) -> None:
        self._native = native
        self.path = path
        self._info: dict[str, Any] | None = None
        self._losses: tuple[bool, list[str]] | None = None

    def info(self) -> dict[str, Any]:
        """The process, its flags, its heaps' debug options, and what would tell more next time."""
        if self._info is None:
            self._info = json.loads(self._native.info())
        return self._info

    @property
    def program(self) -> str | None:
        """Path of the program."""
        return self.info()["process"]["program"]

    @property
    def pid(self) -> int | None:
        """Process identifier."""
        return self.info()["process"]["pid"]

    @property
    def build(self) -> int:
        """Windows build number."""
        return self.info()["process"]["build"]

    @property
    def bits(self) -> int:
        """32 or 64."""
        return self.info()["process"]["bits"]

    @property
    def timestamp(self) -> int:
        """When the dump was taken, in seconds since 1970."""
        return self.info()["process"]["timestamp"]

    @property
    def complete(self) -> bool:
        """Whether everything was read."""
        return self._lost()[0]

    @property
    def losses(self) -> list[str]:
        """What could not be read, in words."""
        return self._lost()[1]

    def _lost(self) -> tuple[bool, list[str]]:
        if self._losses is None:
            self._losses = self._native.losses()
        return self._losses

    def heaps(self) -> list[Heap]:
        """The heaps with their totals."""
        return [Heap(handle=row.pop("heap"), **row) for row in self.heaps_table()]

    def heaps_table(self) -> Table:
        """The same as a table."""
        return Table(self._native.heaps())

    def stat(self, by: str = "size", heap: int | None = None) -> Table:
        """Blocks of each heap by ``"size"`` or by ``"stack"``, the largest total first."""
        if by == "size":
            return Table(self._native.sizes(heap))
        if by == "stack":
            return Table(self._native.stacks(heap))
        raise ValueError("by: 'size' or 'stack'")

    def blocks(self, heap: int | None = None, all: bool = False) -> Table:
        """The blocks that the program holds; with ``all`` free ones and the heap's own, too."""
        return Table(self._native.blocks(heap, all))

    def leaks(self, heuristics: str = "default") -> Leaks:
        """What nothing leads to any more."""
        text, records = self._native.leaks(heuristics)
        return Leaks(text, Table(records))

    def types(self, base: str | None = None, contents: bool = False) -> Types:
        """What the blocks are; of ``base`` and what derives from it alone, if it is given."""
        return Types(*self._native.types(base, contents))

    def block(self, address: int, references: bool = False) -> dict[str, Any]:
        """What lies at an address, with the stack of its allocation."""
        return json.loads(self._native.block(address, references))

    def owners(
        self,
        address: int | None = None,
        *,
        size: int | None = None,
        type: str | None = None,
        heuristics: str = "default",
        top: int = 10,
    ) -> dict[str, Any]:
        """Who holds a block, or all blocks of a size or type."""
        return json.loads(self._native.owners(address, size, type, heuristics, top))

    def __repr__(self) -> str:
        return f"<ntheap.Dump: {self.path}>"


def open(
    path: str | os.PathLike[str],
    symbols: str | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    allow_mismatched: bool = False,
    bits: int | None = None,
    time_limit: float | None = None,
    private: bool = False,
) -> Dump:
    """Opens a dump, packed or not.

    ``symbols`` is a symbol path (folders, stores, ``srv*CACHE*URL``); ``cache`` keeps converted symbols; ``bits`` chooses
    a side of a 32-bit process on 64-bit Windows; walks end after ``time_limit`` seconds with what they found, which
    ``losses`` tells; ``private`` leaves folders out.
    """
    native = _native.open(
        os.fspath(path),
        symbols,
        None if cache is None else os.fspath(cache),
        allow_mismatched,
        bits,
        time_limit,
        private,
    )
    return Dump(native, os.fspath(path))


def diff(*dumps: Dump, top: int = 10) -> Diff:
    """Compares dumps: the older and the newer, or a series, which is put in the order of time."""
    if len(dumps) < 2:
        raise ValueError("a comparison needs two dumps at least")
    text, heaps, groups = _native.diff([dump._native for dump in dumps], top)
    return Diff(text, Table(heaps), Table(groups))


def compare_types(before: Dump, after: Dump, base: str | None = None) -> Types:
    """What the blocks of two dumps are, the types that grew most first."""
    return Types(*_native.compare_types(before._native, after._native, base))
