-- Keys with values of applications, and how much each of their stores holds.
CREATE TABLE key_values (
    app TEXT NOT NULL,
    label TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (app, label, key)
) STRICT;
CREATE TABLE key_value_sums (
    app TEXT NOT NULL,
    label TEXT NOT NULL,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (app, label)
) STRICT, WITHOUT ROWID;
