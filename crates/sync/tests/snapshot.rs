//! Snapshots: laws of versions, saved images, cancellation, and threads against each other.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use proptest::prelude::*;
use seawall_sync::testing::{at_every_poll, within_polls};
use seawall_sync::{SaveError, Snapshot, SnapshotMap};

#[test]
fn an_update_that_panics_changes_nothing() {
    let snapshot = Snapshot::new(1);
    let panicked = catch_unwind(AssertUnwindSafe(|| snapshot.update(|_| panic!("no"))));
    assert!(panicked.is_err());
    assert_eq!((snapshot.version(), **snapshot.load()), (0, 1));
    assert_eq!(*snapshot.update(|old| old + 1), 2);
}

#[test]
fn a_change_that_panics_harms_its_owner_alone() {
    let snapshot = Arc::new(Snapshot::new(Vec::new()));
    let (building, go) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // While one writer builds, the others' changes gather.
        scope.spawn(|| {
            snapshot.update(|old| {
                building.store(true, Relaxed);
                while !go.load(Relaxed) {
                    std::thread::yield_now();
                }
                old.clone()
            });
        });
        while !building.load(Relaxed) {
            std::thread::yield_now();
        }
        let writers: Vec<_> = (0..8)
            .map(|i| {
                let snapshot = Arc::clone(&snapshot);
                scope.spawn(move || {
                    snapshot.modify(move |list: &mut Vec<i32>| {
                        list.push(i);
                        assert!(i != 3, "number {i}");
                    });
                })
            })
            .collect();
        go.store(true, Relaxed);
        for (i, writer) in writers.into_iter().enumerate() {
            let message = writer
                .join()
                .err()
                .map(|p| *p.downcast::<String>().unwrap());
            assert_eq!(message, (i == 3).then(|| "number 3".to_owned()));
        }
    });
    let mut list = Vec::clone(&snapshot.load());
    list.sort_unstable();
    assert_eq!(list, [0, 1, 2, 4, 5, 6, 7]);
}

#[tokio::test]
async fn waiting_for_a_change_may_be_dropped_at_every_poll() {
    let polls = at_every_poll(|polls| async move {
        let snapshot = Arc::new(Snapshot::new(0));
        let seen = snapshot.version();
        let writer = Arc::clone(&snapshot);
        tokio::spawn(async move { writer.store(1) });
        let first = within_polls(snapshot.changed(seen), polls).await;
        // Whether or not it came to its end, who asks anew is answered.
        let again = snapshot.changed(seen).await;
        assert_eq!((again.version, *again.value), (1, 1));
        first.is_some()
    })
    .await;
    assert_eq!(polls, 2);
}

#[test]
fn an_image_replaces_the_old_one_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    // As a process that was killed would leave it, whose id was ours.
    let left = format!(".image.{}-{}.tmp", std::process::id(), 0);
    fs::write(dir.path().join(&left), "half").unwrap();
    let snapshot = Snapshot::new("first".to_owned());
    let write = |text: &String, out: &mut dyn Write| out.write_all(text.as_bytes());
    assert_eq!(snapshot.save(&path, write).unwrap(), 0);
    snapshot.store("second".to_owned());
    assert_eq!(snapshot.save(&path, write).unwrap(), 1);
    assert_eq!(fs::read(&path).unwrap(), b"second");
    fs::remove_file(dir.path().join(left)).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn an_image_keeps_the_permissions_of_the_old_one() {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let snapshot = Snapshot::new(());
    snapshot
        .save(&path, |(), out| out.write_all(b"new"))
        .unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_failed_save_keeps_the_old_image_and_says_which_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let snapshot = Snapshot::new(());
    snapshot
        .save(&path, |(), out| out.write_all(b"old"))
        .unwrap();
    let failed = snapshot.save(&path, |(), out| {
        out.write_all(b"half")?;
        Err(io::Error::other("no more"))
    });
    assert!(matches!(failed, Err(SaveError::Write { .. })));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        snapshot.save(&path, |(), _| panic!("in the closure"))
    }));
    assert!(panicked.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"old");

    let save = |path: &Path| snapshot.save(path, |(), _| Ok(())).unwrap_err();
    let missing = save(&dir.path().join("missing/image"));
    assert!(matches!(missing, SaveError::Create { .. }));
    assert!(matches!(save(Path::new("/")), SaveError::NoFile { .. }));
    fs::create_dir_all(dir.path().join("taken/inside")).unwrap();
    let taken = save(&dir.path().join("taken"));
    assert!(matches!(taken, SaveError::Replace { .. }));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn an_image_is_of_one_version_while_writers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    let map: SnapshotMap<u64, u64> = (0..100).map(|key| (key, 0)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !done.load(Relaxed) {
                map.update(|table| {
                    let next = table.get(&0).copied().unwrap_or_default() + 1;
                    (0..100).for_each(|key| table.insert(key, next));
                });
            }
        });
        for _ in 0..5 {
            let version = map
                .save(&path, |table, out| {
                    table
                        .iter()
                        .try_for_each(|(_, value)| writeln!(out, "{value}"))
                })
                .unwrap();
            let image = fs::read_to_string(&path).unwrap();
            assert_eq!(image, format!("{version}\n").repeat(100));
        }
        done.store(true, Relaxed);
        writer.join().unwrap();
    });
}

#[test]
fn threads_see_whole_values_in_order_and_lose_no_update() {
    let snapshot = Snapshot::new((0u64, 0u64));
    // Written before a value is published, so whoever sees the value sees this as well.
    let published = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            scope.spawn(|| {
                let mut last = 0;
                while !done.load(Relaxed) {
                    let (left, right) = **snapshot.load();
                    assert_eq!(left, right);
                    assert!(published.load(Relaxed) >= left && left >= last);
                    last = left;
                }
            })
        });
        let writers: Vec<_> = (0..2)
            .map(|thread| {
                let (snapshot, published) = (&snapshot, &published);
                scope.spawn(move || {
                    for _ in 0..5_000 {
                        if thread == 0 {
                            snapshot.update(|old| {
                                published.fetch_max(old.0 + 1, Relaxed);
                                (old.0 + 1, old.1 + 1)
                            });
                        } else {
                            snapshot.update(|old| {
                                published.fetch_max(old.0 + 1, Relaxed);
                                (old.1 + 1, old.0 + 1)
                            });
                        }
                    }
                })
            })
            .collect();
        writers
            .into_iter()
            .for_each(|writer| writer.join().unwrap());
        done.store(true, Relaxed);
        // ThreadSanitizer sees threads joined, but not a scope ended.
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
    assert_eq!(
        (**snapshot.load(), snapshot.version()),
        ((10_000, 10_000), 10_000)
    );
}

#[test]
fn threads_that_wait_see_the_last_change() {
    let snapshot = Snapshot::new(0u64);
    std::thread::scope(|scope| {
        let readers = [(); 3].map(|()| {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let mut seen = snapshot.load_versioned();
                    while *seen.value < 2_000 {
                        seen = snapshot.changed(seen.version).await;
                        // One swap may carry several changes.
                        assert!(seen.version <= *seen.value);
                    }
                });
            })
        });
        let modify = || (0..1_000).for_each(|_| snapshot.modify(|value| *value += 1));
        let update = || (0..1_000).for_each(|_| drop(snapshot.update(|value| value + 1)));
        let writers = [scope.spawn(modify), scope.spawn(update)];
        let threads = readers.into_iter().chain(writers);
        threads.for_each(|thread| thread.join().unwrap());
    });
}

proptest! {
    /// Each version of a map holds what a plain map held at the time, whatever came later.
    #[test]
    fn versions_of_a_map_are_as_plain_maps(steps in prop::collection::vec(
        prop::collection::vec((0u8..32, prop::option::of(any::<u8>())), 0..8), 0..40)) {
        let (map, mut plain) = (SnapshotMap::default(), HashMap::new());
        let mut versions = vec![(map.load_full(), plain.clone())];
        for batch in steps {
            map.update(|table| for (key, value) in batch {
                match value {
                    Some(value) => { table.insert(key, value); plain.insert(key, value); }
                    None => assert_eq!(table.remove(&key), plain.remove(&key).is_some()),
                }
            });
            versions.push((map.load_full(), plain.clone()));
        }
        for (table, plain) in versions {
            prop_assert_eq!(table.iter().map(|(k, v)| (*k, *v)).collect::<HashMap<_, _>>(), plain);
        }
    }
}
