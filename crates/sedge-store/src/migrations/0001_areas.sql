CREATE TABLE receipts (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    executor TEXT NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence >= 0),
    task TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('executed', 'requested')),
    countersigned INTEGER NOT NULL CHECK (countersigned IN (0, 1)),
    at_ms INTEGER NOT NULL,
    json TEXT NOT NULL,
    UNIQUE (executor, sequence)
) STRICT;
CREATE INDEX receipts_by_task ON receipts (task);

CREATE TABLE deployments (
    name TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    options TEXT NOT NULL,
    deployed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    node TEXT PRIMARY KEY,
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    revoked INTEGER NOT NULL CHECK (revoked IN (0, 1)),
    at_ms INTEGER NOT NULL,
    json TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_edited BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER audit_is_not_shortened BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

CREATE TABLE decisions (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    task TEXT NOT NULL UNIQUE,
    at_ms INTEGER NOT NULL,
    json TEXT NOT NULL
) STRICT;

CREATE TABLE settings (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
