"""The Python package over the sample dumps and their truth."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import ntheap

TESTDATA = Path(__file__).resolve().parents[3] / "testdata"
BEFORE = TESTDATA / "19041.662-smallust.snap1.dmp.zst"
AFTER = TESTDATA / "19041.662-smallust.snap2.dmp.zst"
DEPOT = TESTDATA / "types" / "19041.662-depot.snap1.dmp.zst"
LATER = TESTDATA / "types" / "19041.662-depot.snap5.dmp.zst"
SYMBOLS = str(TESTDATA / "symbols")


def truth(dump: Path) -> dict:
    packed = dump.with_name(dump.name.replace(".dmp.zst", ".truth.json.zst"))
    text = subprocess.run(["zstd", "-dc", packed], check=True, capture_output=True).stdout
    return json.loads(text)


@pytest.fixture(scope="module")
def before() -> ntheap.Dump:
    return ntheap.open(BEFORE, SYMBOLS)


@pytest.fixture(scope="module")
def after() -> ntheap.Dump:
    return ntheap.open(AFTER, SYMBOLS)


def rows(data: dict, table: str, columns: str) -> list[dict]:
    return [dict(zip(data[columns], row)) for row in data[table]]


def test_a_dump_tells_of_its_process(before: ntheap.Dump) -> None:
    known = truth(BEFORE)
    assert before.pid == known["pid"]
    assert (before.build, before.bits, before.complete, before.losses) == (19041, 64, True, [])
    assert before.program is not None and before.program.endswith("ordersvc.exe")
    assert before.info()["stacks"]["busy_blocks"] == len(known["allocations"])


def test_heaps_and_blocks_are_those_of_the_truth(before: ntheap.Dump) -> None:
    known = truth(BEFORE)
    allocations = rows(known, "allocations", "allocation_columns")
    handles = [heap["handle"] for heap in known["heaps"]]
    held = Counter()
    for one in allocations:
        held[handles[one["heap"]]] += one["requested"]
    heaps = before.heaps()
    assert {heap.handle: heap.busy_bytes for heap in heaps} == {
        handle: held[handle] for handle in handles
    }
    blocks = {(row["heap"], row["address"], row["size"]) for row in before.blocks()}
    assert blocks == {(handles[one["heap"]], one["address"], one["requested"]) for one in allocations}
    assert len(before.blocks(all=True)) > len(blocks)
    sizes = Counter()
    for row in before.stat():
        sizes[row["size"]] += row["blocks"]
    assert sizes == Counter(one["requested"] for one in allocations)


def test_the_leak_is_found(before: ntheap.Dump, after: ntheap.Dump) -> None:
    diff = ntheap.diff(before, after)
    assert diff.complete and diff.missing == [] and diff.delta_blocks == 211
    first = diff.suspects[0]
    assert first["confidence"] == "high" and "MakeStringBuffer" in str(first["frames"])
    assert diff.heaps[0]["heap"] == 0x21AB8560000 and diff.heaps[0]["delta_bytes"] == 251496
    new = [row for row in diff.groups if row["size"] == 0x30]
    assert any("MakeStringBuffer" in str(row["frames"]) for row in new)
    assert diff.to_dict()["verdict"] == diff.verdict
    stacks = after.stat(by="stack")
    assert all(isinstance(row["frames"], list) for row in stacks)


def test_leaks_types_and_owners() -> None:
    dump = ntheap.open(LATER)
    known = rows(truth(LATER), "leaks", "leak_columns")
    sessions = [row for row in known if row["type"] == "class depot::Session"]
    lost = [row for row in sessions if row["default"] == "definite"]
    leaks = dump.leaks()
    assert leaks.records[0]["type"] == "depot::Session"
    assert leaks.records[0]["blocks"] == len(lost)
    assert leaks.summary["definite"]["blocks"] == sum(row["default"] == "definite" for row in known)
    assert not leaks.doubt["may_accuse_falsely"]
    types = dump.types("depot::Session")
    assert types[0]["blocks"] == len(sessions) and types.explained["percent"] > 50
    grown = ntheap.compare_types(ntheap.open(DEPOT), dump, "depot::Session")
    assert grown[0]["delta_blocks"] > 0
    owners = dump.owners(type="depot::Listener")
    keeper = next(row["dominator"] for row in known if row["type"] == "class depot::Listener")
    assert owners["dominators"][0]["block"] == hex(keeper)
    block = dump.block(lost[0]["user_address"], references=True)
    assert block["block"]["state"] == "busy"


def test_tables_are_sequences(before: ntheap.Dump) -> None:
    table = before.stat()
    assert len(list(table)) == len(table)
    assert table[-1] == list(table)[-1] and table[1:3] == list(table)[1:3]
    assert table[::2] == list(table)[::2] and table[5:2] == []
    assert "rows of heap, size" in repr(table)
    with pytest.raises(IndexError):
        table[len(table)]


def test_arrow_hands_columns_over_as_they_are(before: ntheap.Dump) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = before.blocks()
    one, other = pyarrow.table(table), pyarrow.table(table)
    # The same memory twice: nothing was copied.
    addresses = [t.column("address").chunk(0).buffers()[1].address for t in (one, other)]
    assert addresses[0] == addresses[1]
    assert one.num_rows == len(table) and one.column_names == table.columns
    del table
    assert one.column("size").to_pylist() == other.column("size").to_pylist()


def test_pandas_and_polars_take_tables(after: ntheap.Dump) -> None:
    pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    table = after.stat()
    frame, other = table.to_pandas(), table.to_polars()
    assert frame["bytes"].sum() == other["bytes"].sum() == sum(row["bytes"] for row in table)
    assert polars.DataFrame(after.stat(by="stack"))["frames"].dtype == polars.List(polars.String)


def test_what_is_no_dump_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ntheap.open(tmp_path / "none.dmp")
    text = tmp_path / "text.dmp"
    text.write_text("no dump")
    with pytest.raises(ntheap.DumpError, match="not a minidump"):
        ntheap.open(text)
    dump = ntheap.open(DEPOT)
    with pytest.raises(ValueError, match="lies in no block"):
        dump.owners(0x10)
    with pytest.raises(ValueError):
        dump.owners()
    with pytest.raises(ValueError):
        dump.leaks("no-such-rule")
    with pytest.raises(ValueError):
        ntheap.diff(dump)
    with pytest.raises(ValueError):
        ntheap.open(DEPOT, bits=16)


def test_long_calls_release_the_lock() -> None:
    dump = ntheap.open(LATER)
    done = threading.Event()

    def work() -> None:
        for _ in range(5):
            dump.types()
        done.set()

    worker = threading.Thread(target=work)
    start = time.monotonic()
    worker.start()
    turns = 0
    while not done.is_set():
        turns += 1
        time.sleep(0.001)
    worker.join()
    # With the lock held, the loop would turn once a call.
    assert turns > 10 or time.monotonic() - start < 0.05


def test_the_notebook_runs(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(TESTDATA.parent / "docs" / "python.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": TESTDATA.parent / "docs"}})
    client.execute()
    printed = str(notebook)
    assert "MakeStringBuffer" in printed and "depot::Session" in printed
