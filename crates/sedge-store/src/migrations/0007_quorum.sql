CREATE TABLE quorum_log (
    swarm TEXT NOT NULL,
    position INTEGER NOT NULL CHECK (position >= 0),
    json TEXT NOT NULL,
    PRIMARY KEY (swarm, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE quorum_facts (
    swarm TEXT NOT NULL,
    fact TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (swarm, fact)
) STRICT, WITHOUT ROWID;
