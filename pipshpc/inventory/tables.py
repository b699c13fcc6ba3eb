"""The tables of an inventory, and connections to it.

Items are rows; what many share (collection, kind, product, grid, sensor,
platform) is a stream. An R*Tree over longitude, latitude, time and stream
finds candidates, whose exact numbers are then compared.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from pipshpc.errors import InputError, OutputError

VERSION = 2  # 2: campaigns
BUSY_S = 60.0
SWITCHES, SWITCH_WAIT_S = 40, 0.02  # tries to set the journal's mode, and the wait, which grows

TABLES = """
CREATE TABLE IF NOT EXISTS stream (
    code INTEGER PRIMARY KEY,
    collection TEXT NOT NULL, kind TEXT NOT NULL, product TEXT NOT NULL,
    grid TEXT NOT NULL, sensor TEXT NOT NULL, platform TEXT NOT NULL,
    UNIQUE (collection, kind, product, grid, sensor, platform)
);
CREATE TABLE IF NOT EXISTS item (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    stream INTEGER NOT NULL REFERENCES stream (code),
    path TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL,
    west REAL, south REAL, east REAL, north REAL,
    start INTEGER, stop INTEGER,
    quality TEXT NOT NULL, recipe TEXT NOT NULL, properties TEXT NOT NULL,
    created INTEGER NOT NULL, revision INTEGER NOT NULL,
    until INTEGER,
    withdrawn INTEGER
);
CREATE INDEX IF NOT EXISTS item_id ON item (id, revision);
CREATE INDEX IF NOT EXISTS item_path ON item (path);
CREATE INDEX IF NOT EXISTS item_digest ON item (digest) WHERE digest <> '';
CREATE INDEX IF NOT EXISTS item_recipe ON item (recipe) WHERE recipe <> '';
CREATE INDEX IF NOT EXISTS item_stream ON item (stream, start);
CREATE VIRTUAL TABLE IF NOT EXISTS place USING rtree (
    part, west, east, south, north, first, last, low, high
);
CREATE TABLE IF NOT EXISTS edge (
    child INTEGER NOT NULL REFERENCES item (key), parent TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (child, parent)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS edge_parent ON edge (parent);
CREATE TABLE IF NOT EXISTS seen (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    trouble TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS campaign (
    file TEXT PRIMARY KEY, name TEXT NOT NULL, output TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subscription (
    name TEXT PRIMARY KEY, told TEXT NOT NULL, since INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delivery (
    subscription TEXT NOT NULL, item INTEGER NOT NULL, state TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (subscription, item)
) WITHOUT ROWID;
"""


def connect(path: Path, create: bool, patience_s: float = BUSY_S) -> sqlite3.Connection:
    """Open an inventory file; several processes may do so at once.

    Parameters
    ----------
    path : file
    create : make it where it is not there
    patience_s : that another process is waited for, which is writing

    Raises
    ------
    InputError
        Where it is not there, is no inventory, or was made by a newer version.
    OutputError
        Where it cannot be made.
    """
    if not create and not path.is_file():
        raise InputError(f"{path}: no inventory; make it with 'pipshpc ingest FOLDER'")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        base = sqlite3.connect(path, timeout=patience_s, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"{path}: cannot be opened ({error}); name another folder with --home") from error
    try:
        _prepare(base)
    except sqlite3.DatabaseError as error:
        base.close()
        raise InputError(f"{path}: is not an inventory ({error}); name another folder with --home") from error
    if (found := base.execute("PRAGMA user_version").fetchone()[0]) > VERSION:
        base.close()
        raise InputError(f"{path}: is an inventory of version {found}, this pipshpc reads up to {VERSION}; update it")
    return base


def _prepare(base: sqlite3.Connection) -> None:
    _set_journal(base)
    base.execute("PRAGMA synchronous = NORMAL")
    base.execute("PRAGMA cache_size = -65536")
    base.execute("PRAGMA mmap_size = 1073741824")
    base.execute("PRAGMA temp_store = MEMORY")
    if base.execute("PRAGMA user_version").fetchone()[0] >= VERSION:
        return
    base.execute("BEGIN IMMEDIATE")
    try:
        for statement in TABLES.split(";"):
            if statement.strip():
                base.execute(statement)
        base.execute(f"PRAGMA user_version = {VERSION}")
        base.execute("COMMIT")
    except BaseException:
        base.execute("ROLLBACK")
        raise


def _set_journal(base: sqlite3.Connection) -> None:
    """Let readers go on while somebody writes; where the file system cannot do it (NFS), SQLite keeps its journal."""
    for attempt in range(SWITCHES):
        try:
            if base.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                base.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            # The switch does not wait for others that open the new file at the same time.
            if "locked" not in str(error) or attempt + 1 == SWITCHES:
                raise
            time.sleep(SWITCH_WAIT_S * (attempt + 1))
