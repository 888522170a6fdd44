//! Which files are opened, and which are refused and left as they are.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use sedge_base::ErrorKind;
use sedge_store::{OpenError, Store};

fn write_private(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Makes a store, lets `change` alter its file, and expects to be refused with the file untouched.
async fn check_refused(change: impl FnOnce(&Path), expected: impl FnOnce(&OpenError) -> bool) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sedge.db");
    let store = Store::open(&path).await.unwrap();
    store.settings().set("a", "b").await.unwrap();
    store.close().await.unwrap();
    drop(store);
    change(&path);
    let before = fs::read(&path).unwrap();
    let refused = Store::open(&path).await.unwrap_err();
    assert!(expected(&refused), "{refused:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// The number of the newest schema: each step is a file.
fn newest() -> u32 {
    let steps = concat!(env!("CARGO_MANIFEST_DIR"), "/src/migrations");
    u32::try_from(fs::read_dir(steps).unwrap().count()).unwrap()
}

#[tokio::test]
async fn a_new_store_has_the_newest_schema_and_mode_600() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sedge.db");
    write_private(&path, b"");
    let store = Store::open(&path).await.unwrap();
    store.settings().set("a", "b").await.unwrap();
    for file in ["sedge.db", "sedge.db-wal", "sedge.db-shm", "sedge.db.lock"] {
        let mode = fs::metadata(home.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    store.close().await.unwrap();
    drop(store);
    let database = rusqlite::Connection::open(&path).unwrap();
    let version: u32 = database.query_row("PRAGMA user_version", [], |it| it.get(0)).unwrap();
    assert_eq!(version, newest(), "every step was taken");
    drop(database);
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.settings().get("a").await.unwrap().as_deref(), Some("b"));
    assert_eq!(store.integrity_check().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_up_to_date_and_keeps_what_it_had() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sedge.db");
    write_private(&path, b"");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch(include_str!("../../src/migrations/0001_areas.sql")).unwrap();
    database.pragma_update(None, "application_id", 0x7365_6467).unwrap();
    database.pragma_update(None, "user_version", 1).unwrap();
    database.execute("INSERT INTO settings VALUES ('a', 'b')", []).unwrap();
    drop(database);
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.settings().get("a").await.unwrap().as_deref(), Some("b"));
    assert_eq!(store.calls().used("t".to_owned()).await.unwrap(), 0);
    assert_eq!(store.revocations().list().await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_number() {
    let newer = |path: &Path| {
        let database = rusqlite::Connection::open(path).unwrap();
        database.pragma_update(None, "user_version", 99).unwrap();
        database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    };
    let by_number = |err: &OpenError| {
        matches!(err, OpenError::Newer { found: 99, known, .. } if *known == newest())
            && err.kind() == ErrorKind::Unsupported
    };
    check_refused(newer, by_number).await;
}

#[tokio::test]
async fn a_file_of_noise_is_refused() {
    let noise = |path: &Path| write_private(path, &b"noise ".repeat(1000));
    check_refused(noise, |err| matches!(err, OpenError::NotOurs { .. })).await;
}

#[tokio::test]
async fn a_database_of_another_program_is_refused() {
    let foreign = |path: &Path| {
        fs::remove_file(path).unwrap();
        let database = rusqlite::Connection::open(path).unwrap();
        database.execute_batch("CREATE TABLE theirs (a)").unwrap();
        drop(database);
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    check_refused(foreign, |err| matches!(err, OpenError::NotOurs { .. })).await;
}

#[tokio::test]
async fn a_damaged_schema_is_refused() {
    let damage = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[100..200].fill(0xff);
        write_private(path, &bytes);
    };
    check_refused(damage, |err| err.kind() == ErrorKind::Corrupt).await;
}

#[tokio::test]
async fn a_file_that_others_may_read_is_refused() {
    let share = |path: &Path| {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    };
    check_refused(share, |err| matches!(err, OpenError::Mode { mode: 0o644, .. })).await;
}

#[tokio::test]
async fn damage_inside_is_found_by_the_integrity_check() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sedge.db");
    let store = Store::open(&path).await.unwrap();
    for number in 0..200 {
        store.settings().set(&format!("key-{number:04}"), &"x".repeat(500)).await.unwrap();
    }
    assert_eq!(store.integrity_check().await.unwrap(), [""; 0]);
    store.close().await.unwrap();
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let last_page = bytes.len() - 4096;
    bytes[last_page..last_page + 64].fill(0xff);
    write_private(&path, &bytes);
    let store = Store::open(&path).await.unwrap();
    let found = store.integrity_check().await;
    assert!(found.as_ref().map_or(true, |it| !it.is_empty()), "{found:?}");
}

#[tokio::test]
async fn a_second_opening_is_refused_while_the_first_lasts() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("sedge.db");
    let store = Store::open(&path).await.unwrap();
    let second = Store::open(&path).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    store.close().await.unwrap();
    drop(store);
    assert!(Store::open(&path).await.is_ok());
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let refused = Store::open(Path::new("/nowhere/at/all/sedge.db")).await.unwrap_err();
    assert_eq!(refused.to_string(), "cannot use /nowhere/at/all/sedge.db.lock");
}
