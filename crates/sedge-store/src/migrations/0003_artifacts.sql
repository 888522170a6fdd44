CREATE TABLE artifacts (
    id TEXT PRIMARY KEY,
    content TEXT,
    size INTEGER NOT NULL CHECK (size > 0),
    whole INTEGER NOT NULL CHECK (whole IN (0, 1)),
    pinned INTEGER NOT NULL CHECK (pinned IN (0, 1)),
    used INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
