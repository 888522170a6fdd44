CREATE TABLE graph_entries (
    space TEXT NOT NULL,
    soul TEXT NOT NULL,
    key TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (space, soul, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE graph_tensors (
    id TEXT PRIMARY KEY,
    form TEXT NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
