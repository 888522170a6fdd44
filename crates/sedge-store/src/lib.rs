//! Durable state: embedded SQLite, migrations, one file.
