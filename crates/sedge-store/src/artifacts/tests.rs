//! What stays and what goes.

use std::io::Write as _;

use tempfile::TempDir;

use super::*;

/// Ten bytes are the largest, thirty are the room.
const LIMITS: ArtifactLimits =
    ArtifactLimits { largest: ByteSize::from_bytes(10), room: ByteSize::from_bytes(30) };

async fn new_store() -> (TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    (home, store)
}

fn id(number: u8) -> ArtifactId {
    ArtifactId::from_bytes([number; 32])
}

fn artifact(number: u8, size: u64, keep: Keep) -> Artifact {
    let content = Some(ContentId::of(&[number]));
    let stored_at = Timestamp::from_millis(1);
    Artifact { id: id(number), content, size, whole: true, keep, stored_at }
}

async fn put(store: &Store, artifact: Artifact) -> Result<Vec<ArtifactId>, ArtifactError> {
    let mut staged = store.artifacts().stage().await?;
    let bytes = vec![artifact.id.as_bytes()[0]; usize::try_from(artifact.size).unwrap()];
    staged.files.data.write_all(&bytes).unwrap();
    staged.files.tree.write_all(b"tree").unwrap();
    store.artifacts().keep(staged, artifact, LIMITS, Vec::new()).await
}

async fn listed(store: &Store) -> Vec<u8> {
    let list = store.artifacts().list().await.unwrap();
    list.iter().map(|it| it.id.as_bytes()[0]).collect()
}

fn files(home: &TempDir) -> Vec<String> {
    let folder = std::fs::read_dir(home.path().join("artifacts")).unwrap();
    let mut names: Vec<_> =
        folder.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_longest_unused_goes_first_and_its_files_with_it() {
    let (home, store) = new_store().await;
    for number in 1..=3 {
        assert_eq!(put(&store, artifact(number, 10, Keep::WhileThereIsRoom)).await.unwrap(), []);
    }
    assert!(store.artifacts().open(id(1)).await.unwrap().is_some());
    let evicted = put(&store, artifact(4, 10, Keep::WhileThereIsRoom)).await.unwrap();
    assert_eq!(evicted, [id(2)]);
    assert_eq!(listed(&store).await, [4, 1, 3]);
    assert!(store.artifacts().open(id(2)).await.unwrap().is_none());
    assert!(!files(&home).contains(&id(2).to_string()));
}

#[tokio::test]
async fn what_is_pinned_deployed_or_busy_stays() {
    let (_home, store) = new_store().await;
    put(&store, artifact(1, 10, Keep::Pinned)).await.unwrap();
    put(&store, artifact(2, 10, Keep::WhileThereIsRoom)).await.unwrap();
    let deployment = crate::Deployment {
        name: "fn-1".to_owned(),
        content: ContentId::of(&[2]),
        options: "{}".to_owned(),
        deployed_at: Timestamp::from_millis(1),
    };
    store.deployments().put(deployment).await.unwrap();
    let partial =
        Artifact { whole: false, content: None, ..artifact(3, 10, Keep::WhileThereIsRoom) };
    store.artifacts().begin(partial, LIMITS, Vec::new()).await.unwrap();

    let staged = store.artifacts().stage().await.unwrap();
    let more = artifact(4, 10, Keep::WhileThereIsRoom);
    let refused = store.artifacts().keep(staged, more, LIMITS, vec![id(3)]).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "no room for 10 B: of 30 B, 30 B are pinned, deployed or arriving"
    );
    assert_eq!(refused.kind(), ErrorKind::Exhausted);
    assert_eq!(listed(&store).await, [3, 2, 1]);
    // Nobody fetches the third any more.
    let evicted = put(&store, artifact(4, 10, Keep::WhileThereIsRoom)).await.unwrap();
    assert_eq!(evicted, [id(3)]);
}

#[tokio::test]
async fn one_too_many_bytes_are_refused() {
    let (home, store) = new_store().await;
    let refused = put(&store, artifact(1, 11, Keep::Pinned)).await.unwrap_err();
    assert_eq!(refused.to_string(), "the artifact is too large: 11 B > 10 B");
    assert_eq!((listed(&store).await, files(&home)), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn the_same_twice_counts_once() {
    let (_home, store) = new_store().await;
    for _ in 0..4 {
        put(&store, artifact(1, 10, Keep::WhileThereIsRoom)).await.unwrap();
    }
    put(&store, artifact(1, 10, Keep::Pinned)).await.unwrap();
    put(&store, artifact(2, 10, Keep::Pinned)).await.unwrap();
    put(&store, artifact(3, 10, Keep::Pinned)).await.unwrap();
    assert_eq!(listed(&store).await, [3, 2, 1]);
    let first = store.artifacts().get(id(1)).await.unwrap().unwrap();
    assert_eq!(first.keep, Keep::Pinned);
}

#[tokio::test]
async fn what_came_in_parts_is_whole_when_it_is_finished() {
    let (_home, store) = new_store().await;
    let partial = Artifact { whole: false, content: None, ..artifact(1, 10, Keep::Pinned) };
    let (files, _) = store.artifacts().begin(partial.clone(), LIMITS, Vec::new()).await.unwrap();
    assert_eq!(files.data.metadata().unwrap().len(), 10);
    assert_eq!(store.artifacts().get(id(1)).await.unwrap(), Some(partial.clone()));
    store.artifacts().finish(id(1)).await.unwrap();
    store.artifacts().name(id(1), ContentId::of(&[1])).await.unwrap();
    let whole = Artifact { whole: true, content: Some(ContentId::of(&[1])), ..partial };
    assert_eq!(store.artifacts().get(id(1)).await.unwrap(), Some(whole));
}

#[tokio::test]
async fn what_a_crash_leaves_is_tidied_at_the_next_start() {
    let (home, store) = new_store().await;
    for number in 1..=2 {
        put(&store, artifact(number, 10, Keep::Pinned)).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    let folder = home.path().join("artifacts");
    std::fs::write(folder.join(".new-7"), "half").unwrap();
    std::fs::write(folder.join(id(9).to_string()), "nobody's").unwrap();
    std::fs::remove_file(folder.join(id(1).to_string())).unwrap();

    let store = Store::open(&home.path().join("sedge.db")).await.unwrap();
    assert_eq!(listed(&store).await, [2]);
    let mine = [id(1), id(2)].map(|it| format!("{it}.tree"));
    let left: Vec<_> = files(&home).into_iter().filter(|it| !mine.contains(it)).collect();
    assert_eq!(left, [id(2).to_string()]);
}

#[tokio::test]
async fn what_is_removed_is_gone() {
    let (home, store) = new_store().await;
    put(&store, artifact(1, 10, Keep::Pinned)).await.unwrap();
    assert!(store.artifacts().remove(id(1)).await.unwrap());
    assert!(!store.artifacts().remove(id(1)).await.unwrap());
    assert_eq!(files(&home), Vec::<String>::new());
}
