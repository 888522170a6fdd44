-- The ids of a chain in order, without touching the receipts themselves.
CREATE INDEX receipts_by_place ON receipts (executor, sequence, id);

-- The newest checkpoint of each node, this one included, and what contradicts it.
CREATE TABLE checkpoints (
    node TEXT PRIMARY KEY,
    count INTEGER NOT NULL CHECK (count >= 0),
    at_ms INTEGER NOT NULL,
    json TEXT NOT NULL,
    contradiction TEXT
) STRICT, WITHOUT ROWID;

-- Inputs of tasks that can be run again; the oldest go first.
CREATE TABLE inputs (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    media TEXT NOT NULL,
    content BLOB NOT NULL
) STRICT;
CREATE TABLE inputs_size (bytes INTEGER NOT NULL CHECK (bytes >= 0)) STRICT;
INSERT INTO inputs_size VALUES (0);
CREATE TRIGGER inputs_grow AFTER INSERT ON inputs
BEGIN UPDATE inputs_size SET bytes = bytes + length(NEW.content); END;
CREATE TRIGGER inputs_shrink AFTER DELETE ON inputs
BEGIN UPDATE inputs_size SET bytes = bytes - length(OLD.content); END;
