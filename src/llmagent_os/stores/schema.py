"""The tables of the journal as numbered migrations: a folder of any earlier version is brought to the newest one.

`PRAGMA user_version` says which a file has; 0 is a new file or one from before versions were counted.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from ..core.errors import Conflict

FIRST = """
CREATE TABLE IF NOT EXISTS process(
    pid INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT, program TEXT NOT NULL, args BLOB, state BLOB,
    status TEXT NOT NULL, reason TEXT, result BLOB, tenant TEXT NOT NULL, principal TEXT NOT NULL,
    budget BLOB, supervision BLOB, usage BLOB, upto INTEGER NOT NULL DEFAULT 0, turn INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, nice INTEGER NOT NULL DEFAULT 0, held BLOB);
CREATE INDEX IF NOT EXISTS process_awake ON process(status) WHERE status IN ('running', 'paused');
CREATE INDEX IF NOT EXISTS process_named ON process(tenant, name) WHERE name IS NOT NULL;
CREATE INDEX IF NOT EXISTS process_tenant ON process(tenant, pid);
CREATE INDEX IF NOT EXISTS process_parent ON process(parent) WHERE parent > 0;
CREATE TABLE IF NOT EXISTS call(
    pid INTEGER NOT NULL, seq INTEGER NOT NULL, turn INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
    args BLOB, result BLOB, error BLOB, tenant TEXT NOT NULL, principal TEXT NOT NULL, labels TEXT, adapter TEXT,
    input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, money REAL,
    started REAL NOT NULL, seconds REAL NOT NULL, waited REAL NOT NULL, crc INTEGER NOT NULL,
    PRIMARY KEY(pid, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commit_order(n INTEGER PRIMARY KEY, pid INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TRIGGER IF NOT EXISTS call_committed AFTER INSERT ON call
    BEGIN INSERT INTO commit_order(pid, seq) VALUES (new.pid, new.seq); END;
INSERT INTO commit_order(pid, seq) SELECT pid, seq FROM call ORDER BY started, pid, seq
    LIMIT iif(EXISTS (SELECT 1 FROM commit_order), 0, -1); -- not WHERE, which would read all of `call` to say no
CREATE TABLE IF NOT EXISTS message(
    n INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, box TEXT NOT NULL, body BLOB NOT NULL, sender TEXT NOT NULL,
    reply_to TEXT, task TEXT, at REAL NOT NULL, taken INTEGER NOT NULL DEFAULT 0, labels TEXT,
    tenant TEXT NOT NULL, principal TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS message_waiting ON message(box, n) WHERE taken = 0;
CREATE TABLE IF NOT EXISTS blob(hash BLOB PRIMARY KEY, data BLOB NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file(hash BLOB NOT NULL, tenant TEXT NOT NULL, PRIMARY KEY(hash, tenant)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS record(
    space TEXT NOT NULL, key TEXT NOT NULL, version INTEGER NOT NULL, value BLOB, at REAL NOT NULL,
    PRIMARY KEY(space, key, version)) WITHOUT ROWID;
"""

SECOND = """
CREATE TABLE row(
    n INTEGER PRIMARY KEY AUTOINCREMENT, -- in order of commits, never used again
    pid INTEGER NOT NULL, seq INTEGER NOT NULL, turn INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
    args BLOB, result BLOB, error BLOB, tenant TEXT NOT NULL, principal TEXT NOT NULL,
    labels TEXT, origins TEXT, outcome TEXT NOT NULL, decision BLOB,
    input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, money REAL,
    started REAL NOT NULL, seconds REAL NOT NULL, waited REAL NOT NULL, crc INTEGER NOT NULL);
INSERT INTO row SELECT o.n, c.pid, c.seq, turn, name, key, args, result, error, tenant, principal,
    '[' || replace(json_quote(labels), ',', '","') || ']', '', iif(error IS NULL, 'ok', 'error'),
    iif(adapter IS NULL, NULL, CAST(json_object('adapter', adapter) AS BLOB)),
    input_tokens, output_tokens, cached_tokens, money, started, seconds, waited, crc
    FROM commit_order AS o JOIN call AS c ON c.pid = o.pid AND c.seq = o.seq ORDER BY o.n;
UPDATE row SET labels = NULL WHERE labels = '[null]';
INSERT INTO row(n, pid, seq, turn, name, key, tenant, principal, outcome, started, seconds, waited, crc)
    SELECT max(n), 0, 0, 0, '', '', '', '', '', 0, 0, 0, 0 FROM commit_order HAVING max(n) > coalesce(
    (SELECT max(n) FROM row), 0);
DELETE FROM row WHERE name = ''; -- so that the next number comes after all that were ever given
DROP TABLE call;
DROP TABLE commit_order;
ALTER TABLE row RENAME TO call;
CREATE UNIQUE INDEX call_of ON call(pid, seq);
ALTER TABLE message RENAME TO letter;
CREATE TABLE message(
    n INTEGER PRIMARY KEY, id TEXT NOT NULL, box TEXT NOT NULL, body BLOB NOT NULL, sender TEXT NOT NULL,
    reply_to TEXT, task TEXT, at REAL NOT NULL, taken INTEGER NOT NULL DEFAULT 0, origins TEXT,
    tenant TEXT NOT NULL, principal TEXT NOT NULL, UNIQUE(tenant, id, box));
INSERT INTO message SELECT n, id, box, body, sender, reply_to, task, at, taken,
    replace('[' || replace(json_quote(labels), '\\n', '","') || ']', '"from:', '"'), tenant, principal FROM letter;
UPDATE message SET origins = NULL WHERE origins = '[null]';
DROP TABLE letter;
CREATE INDEX message_waiting ON message(box, n) WHERE taken = 0;
ALTER TABLE blob RENAME TO kept;
CREATE TABLE blob(n INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, data BLOB NOT NULL, at REAL NOT NULL);
INSERT INTO blob(hash, data, at) SELECT hash, data, at FROM kept; -- in a table by rowid a page holds several
DROP TABLE kept;
ALTER TABLE process ADD COLUMN origins TEXT;
UPDATE process SET origins = json_object(
    'args', iif(parent > 0, json_array('an earlier version'), json_array()),
    'state', iif(coalesce(state, x'6e756c6c') = x'6e756c6c', json_array(), json_array('an earlier version')),
    'result', iif(result IS NULL, json_array(), json_array('an earlier version')))
    WHERE program != 'service'; -- nobody knows any more whose words are in what was written before
ALTER TABLE process ADD COLUMN owner_turn INTEGER;
ALTER TABLE process ADD COLUMN restarts TEXT;
UPDATE process SET (upto, usage) = (SELECT coalesce(max(seq), 0), CAST(json_object(
    'input_tokens', coalesce(sum(input_tokens), 0), 'output_tokens', coalesce(sum(output_tokens), 0),
    'money', coalesce(sum(money), 0.0), 'steps', count(*)) AS BLOB) FROM call WHERE pid = process.pid)
    WHERE program = 'service'; -- what a service consumed is summed up once
DROP INDEX process_awake;
CREATE INDEX process_service ON process(pid) WHERE program = 'service';
CREATE INDEX process_status ON process(status);
DROP INDEX process_named; -- names are those of living processes: the others would only be in the way
CREATE INDEX process_named ON process(tenant, name, principal)
    WHERE name IS NOT NULL AND status NOT IN ('stopped', 'done', 'quarantined'); -- word for word as it is asked
CREATE INDEX process_person ON process(tenant, principal, pid);
INSERT INTO record(space, key, version, value, at) -- whose the workspaces are that were an agent's (see `homes`)
    SELECT 'workspace', tenant || '/' || agent, 1, CAST(json_object('principal', min(who)) AS BLOB), 0 FROM (
    SELECT tenant, substr(n, 1, instr(n || '~', '~') - 1) AS agent, who FROM (
    SELECT p.tenant, substr(name, 1, instr(name || '@', '@') - 1) AS n, m.principal AS who FROM process AS p
    JOIN message AS m ON m.box = 'pid/' || pid WHERE program = 'agent' AND name IS NOT NULL AND m.principal != ''))
    GROUP BY tenant, agent HAVING count(DISTINCT who) = 1;
UPDATE process SET principal = '*' WHERE program = 'service' OR program = 'agent' AND name IS NOT NULL
    AND instr(name, '@') = 0 AND instr(name, '~once-') = 0; -- replicas work for everybody
ALTER TABLE file RENAME TO made;
CREATE TABLE file(hash BLOB NOT NULL, tenant TEXT NOT NULL, principal TEXT NOT NULL,
    PRIMARY KEY(hash, tenant, principal)) WITHOUT ROWID;
INSERT INTO file SELECT hash, tenant, '*' FROM made; -- for whom they were made, nobody noted
DROP TABLE made;
CREATE TABLE open_turn(pid INTEGER PRIMARY KEY, turn INTEGER NOT NULL); -- its keys have the form of the first schema
INSERT INTO open_turn SELECT pid, turn + 1 FROM process WHERE status IN ('running', 'paused');
CREATE TABLE account(
    account TEXT NOT NULL, resource TEXT NOT NULL, period TEXT NOT NULL, used REAL NOT NULL,
    PRIMARY KEY(account, resource, period)) WITHOUT ROWID;
WITH RECURSIVE below(root, pid) AS (
    SELECT pid, pid FROM process WHERE program != 'service' AND budget IS NOT NULL
        AND EXISTS (SELECT 1 FROM json_each(CAST(budget AS TEXT)) WHERE value IS NOT NULL)
    UNION ALL SELECT root, process.pid FROM below JOIN process ON process.parent = below.pid),
had(root, tokens, money, steps, seconds) AS (
    SELECT root, sum(u ->> 'input_tokens' + u ->> 'output_tokens'), sum(u ->> 'money'), sum(u ->> 'steps'),
        sum(u ->> 'seconds') FROM (SELECT root, CAST(usage AS TEXT) AS u FROM below NATURAL JOIN process) GROUP BY root
    UNION ALL SELECT root, sum(input_tokens + output_tokens), sum(money), count(*), 0
        FROM below NATURAL JOIN process JOIN call ON call.pid = below.pid AND call.seq > upto GROUP BY root)
INSERT INTO account
    SELECT 'process/' || root, resource, '', sum(used) FROM (
        SELECT root, 'tokens' AS resource, tokens AS used FROM had UNION ALL SELECT root, 'money', money FROM had
        UNION ALL SELECT root, 'steps', steps FROM had UNION ALL SELECT root, 'seconds', seconds FROM had)
    WHERE used > 0 GROUP BY root, resource; -- what processes with a budget had of it, with all below them
"""

THIRD = """
CREATE TABLE row(
    n INTEGER PRIMARY KEY, -- in order of commits; the newest row is never deleted, so no number is given twice
    pid INTEGER NOT NULL, seq INTEGER NOT NULL, turn INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,
    args BLOB, result BLOB, error BLOB, tenant TEXT NOT NULL, principal TEXT NOT NULL,
    labels TEXT, origins TEXT, outcome TEXT NOT NULL, decision BLOB,
    input_tokens INTEGER, output_tokens INTEGER, cached_tokens INTEGER, money REAL,
    started REAL NOT NULL, seconds REAL NOT NULL, waited REAL NOT NULL, crc INTEGER NOT NULL);
INSERT INTO row SELECT * FROM call ORDER BY n;
UPDATE row SET n = (SELECT seq FROM sqlite_sequence WHERE name = 'call')
    WHERE n = (SELECT max(n) FROM row); -- where what had the last number is gone, that comes after all others as well
DROP TABLE call;
ALTER TABLE row RENAME TO call;
CREATE UNIQUE INDEX call_of ON call(pid, seq);
DROP INDEX process_status;
CREATE INDEX process_status ON process(status) WHERE status != 'waiting'; -- most do nothing but that
"""

FOURTH = """
CREATE TABLE place(
    place INTEGER PRIMARY KEY, tenant TEXT NOT NULL, agent TEXT NOT NULL, principal TEXT NOT NULL,
    UNIQUE(tenant, agent, principal));
CREATE TABLE document(
    document INTEGER PRIMARY KEY, place INTEGER NOT NULL, source TEXT NOT NULL, title TEXT NOT NULL,
    hash TEXT NOT NULL, tags TEXT NOT NULL, origins TEXT NOT NULL, at REAL, added REAL NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL); -- its passages
CREATE INDEX document_of ON document(place, source);
CREATE TABLE passage(
    passage INTEGER PRIMARY KEY, document INTEGER NOT NULL, begin INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE posting(
    place INTEGER NOT NULL, term TEXT NOT NULL, block INTEGER NOT NULL, data BLOB NOT NULL, -- packed
    PRIMARY KEY(place, term, block)) WITHOUT ROWID;
"""

FIFTH = """
CREATE TABLE fact(
    fact INTEGER PRIMARY KEY, place INTEGER NOT NULL, subject TEXT NOT NULL, predicate TEXT NOT NULL,
    object NOT NULL, -- a text or a number, as it was given
    since REAL, until REAL, recorded REAL NOT NULL, confidence REAL NOT NULL, source TEXT NOT NULL,
    document INTEGER, begin INTEGER, sentence TEXT NOT NULL, -- where it stands, of one that was read in a document
    origins TEXT NOT NULL);
CREATE INDEX fact_of ON fact(place, subject, predicate);
CREATE INDEX fact_from ON fact(place, source);
CREATE INDEX fact_in ON fact(document) WHERE document IS NOT NULL;
CREATE TRIGGER fact_gone AFTER DELETE ON document
    BEGIN DELETE FROM fact WHERE document = old.document; END; -- what was read in it goes with it
CREATE TABLE same(same INTEGER PRIMARY KEY, place INTEGER NOT NULL, kept TEXT NOT NULL, other TEXT NOT NULL,
    at REAL NOT NULL);
CREATE INDEX same_in ON same(place);
CREATE TABLE ruleset(place INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, added REAL NOT NULL,
    PRIMARY KEY(place, name)) WITHOUT ROWID;
"""

SIXTH = """
DROP TABLE posting; -- what is in it is made anew from the passages, the next time that somebody looks
CREATE TABLE segment(
    place INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, passages INTEGER NOT NULL,
    rev INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE(place, first)); -- see `knowledge.segments`
"""

SEVENTH = """
CREATE TABLE earlier( -- what a memory said before
    n INTEGER PRIMARY KEY, place INTEGER NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL, origins TEXT NOT NULL,
    at REAL, until REAL);
CREATE INDEX earlier_of ON earlier(place, source);
"""

MIGRATIONS = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH, SEVENTH)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, path: Path | None = None) -> int:
    """Bring a file to the newest version and return the one that it had, each step in one transaction.

    What it was before is kept beside it, as `journal.db.before-3` for version 3. Raises Conflict for a file that a
    newer LLMAgentOS wrote, sqlite3.DatabaseError for one that cannot be read.
    """
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        raise Conflict(
            f"the data folder was written by a newer LLMAgentOS (schema {found}, this one knows {VERSION}); "
            "use that version, or restore a backup",
            found=found, known=VERSION,
        )  # fmt: skip
    if path is not None and outdated(connection):
        copy_to(connection, path.with_name(f"{path.name}.before-{VERSION}"))
    for number, script in enumerate(MIGRATIONS[found:], found + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
        except sqlite3.DatabaseError:
            if connection.in_transaction:
                connection.rollback()
            raise
    return int(found)


def outdated(connection: sqlite3.Connection) -> bool:
    """Whether a file is of an older version; a new one is of none."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return found < VERSION and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


def copy_to(connection: sqlite3.Connection, path: Path) -> None:
    """Copy a database that may be in use, as it is now, into a file that is there as a whole or not at all."""
    part = path.with_name(path.name + ".part")
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
    with closing(sqlite3.connect(part)) as copy:
        connection.backup(copy)  # in one step, so that writers cannot make it begin again
        copy.execute("PRAGMA journal_mode = DELETE")
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
