//! Certificates that are read anew when their files change.
//!
//! Every file in use is read every [`EVERY`] and compared by its content: times and inodes lie on
//! network file systems and behind Kubernetes' symbolic links, and a few kilobytes cost nothing. A
//! change is taken up when two looks in a row agree, so that a key is not read between the writing of
//! its certificate and its own. What makes no sense is refused, once, and what was there stays.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use seawall::sync::Snapshot;

use super::files::{FileError, Shown, is_open};
use super::validity::{Date, unix_now};

/// How often files are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// From when on a certificate that is about to expire is warned of.
pub(super) const SOON: i64 = 14 * 86_400;

/// What files were made into, and the certificates among them.
#[derive(Debug)]
pub(super) struct Built<T> {
    pub(super) value: Arc<T>,
    pub(super) shown: Vec<Shown>,
}

type Build<T> = Box<dyn Fn() -> Result<Built<T>, FileError> + Send + Sync>;

/// What files are made into, as they are now.
pub(super) struct Kept<T> {
    files: Vec<PathBuf>,
    build: Build<T>,
    current: Snapshot<Built<T>>,
    hasher: RandomState,
    seen: Mutex<Seen>,
}

/// Digests of the files: no key is kept.
#[derive(Debug)]
struct Seen {
    /// What was tried last,
    tried: u64,
    /// and what the last look saw.
    last: u64,
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kept").field(&self.files).finish()
    }
}

impl<T> Kept<T> {
    /// What the files make now; an error if that is nothing.
    pub(super) fn new(files: Vec<PathBuf>, build: Build<T>) -> Result<Self, FileError> {
        let hasher = RandomState::new();
        // Before the files are made use of: what changes between shows at the first look.
        let seen = digest(&files, &hasher);
        let current = Snapshot::new(build()?);
        Ok(Self {
            files,
            build,
            current,
            hasher,
            seen: Mutex::new(Seen {
                tried: seen,
                last: seen,
            }),
        })
    }

    pub(super) fn current(&self) -> Arc<T> {
        self.current.load().value.clone()
    }
}

fn digest(files: &[PathBuf], hasher: &RandomState) -> u64 {
    let contents: Vec<_> = files.iter().map(|file| std::fs::read(file).ok()).collect();
    hasher.hash_one(contents)
}

/// Something of which the files are looked at.
trait Watched: fmt::Debug + Send + Sync {
    /// `None`: nothing new.
    fn look(&self, now: i64) -> Option<Result<(), FileError>>;
    fn shown(&self) -> Vec<Shown>;
}

impl<T: Send + Sync> Watched for Kept<T> {
    fn look(&self, now: i64) -> Option<Result<(), FileError>> {
        let digest = digest(&self.files, &self.hasher);
        let mut seen = self.seen.lock();
        let settled = std::mem::replace(&mut seen.last, digest) == digest;
        if !settled || seen.tried == digest {
            return None;
        }
        seen.tried = digest;
        let had_expired = self.shown().iter().any(|s| s.expired(now).is_some());
        let built = (self.build)().and_then(|built| {
            let expired = built.shown.iter().find_map(|shown| shown.expired(now));
            // Nobody would accept it, so it is worse than one that holds.
            expired.filter(|_| !had_expired).map_or(Ok(built), Err)
        });
        Some(built.map(|built| self.current.store(built)))
    }

    fn shown(&self) -> Vec<Shown> {
        self.current.load().shown.clone()
    }
}

/// All certificates in use.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    /// What is used no more is let go with the listener or upstream that used it.
    kept: Mutex<Vec<Weak<dyn Watched>>>,
    taken: AtomicU64,
    refused: AtomicU64,
}

impl Certificates {
    /// From now on its files are watched, for as long as it is in use.
    pub(super) fn keep<T: Send + Sync + 'static>(&self, kept: Kept<T>) -> Arc<Kept<T>> {
        let kept = Arc::new(kept);
        for shown in kept.shown() {
            tell_of(&shown, unix_now());
        }
        let weak: Weak<Kept<T>> = Arc::downgrade(&kept);
        self.kept.lock().push(weak);
        kept
    }

    fn in_use(&self) -> Vec<Arc<dyn Watched>> {
        let mut kept = self.kept.lock();
        kept.retain(|kept| kept.strong_count() > 0);
        kept.iter().filter_map(Weak::upgrade).collect()
    }

    /// Looks at the files for ever. Reading them blocks, so it wants a thread of its own.
    pub(crate) async fn watch(&self) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look(unix_now());
        }
    }

    fn look(&self, now: i64) {
        for kept in self.in_use() {
            match kept.look(now) {
                None => {}
                Some(Ok(())) => {
                    self.taken.fetch_add(1, Relaxed);
                    for shown in kept.shown() {
                        let setting = shown.key.as_str();
                        let until = Date(shown.validity.not_after);
                        tracing::info!(setting, %until, "certificates have changed: new connections use them");
                        tell_of(&shown, now);
                    }
                }
                Some(Err(error)) => {
                    self.refused.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "certificates have changed and cannot be used: the old ones stay");
                }
            }
        }
    }

    /// Every certificate in use, in no order.
    pub(crate) fn shown(&self) -> Vec<Shown> {
        self.in_use().iter().flat_map(|kept| kept.shown()).collect()
    }

    /// How often changed files were taken up, and how often refused.
    pub(crate) fn reloads(&self) -> [(&'static str, u64); 2] {
        [
            ("taken", self.taken.load(Relaxed)),
            ("refused", self.refused.load(Relaxed)),
        ]
    }
}

fn tell_of(shown: &Shown, now: i64) {
    let until = Date(shown.validity.not_after);
    let setting = shown.key.as_str();
    if shown.validity.not_after < now {
        tracing::warn!(setting, %until, "the certificate has expired: renew it");
    } else if shown.validity.not_after - now < SOON {
        tracing::warn!(setting, %until, "the certificate expires soon: renew it");
    }
    if is_open(&shown.secret) {
        let file = shown.secret.display();
        tracing::warn!(setting, %file, "the private key can be read by everyone on this machine");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::files::FileProblem;
    use crate::tls::validity::Validity;

    /// One file, whose text is what is kept; its length is the certificate's end.
    fn kept(path: &std::path::Path) -> Kept<String> {
        let file = path.to_owned();
        let build = move || {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if text.is_empty() {
                let problem = FileProblem::NoCertificate(file.clone());
                return Err(FileError::new("k", problem));
            }
            let not_after = text.len() as i64;
            let validity = Validity {
                not_before: 0,
                not_after,
            };
            Ok(Built {
                shown: vec![Shown {
                    key: "k".into(),
                    path: file.clone(),
                    secret: file.clone(),
                    names: Vec::new(),
                    validity,
                }],
                value: Arc::new(text),
            })
        };
        Kept::new(vec![path.to_owned()], Box::new(build)).unwrap()
    }

    #[test]
    fn a_change_is_taken_up_when_two_looks_agree_and_refused_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cert");
        let write = |text: &str| std::fs::write(&file, text).unwrap();
        write("first");
        let certificates = Certificates::default();
        let kept = certificates.keep(kept(&file));
        let looks = |at: i64, expected: [u64; 2]| {
            certificates.look(at);
            let reloads = certificates.reloads().map(|(_, count)| count);
            assert_eq!(reloads, expected);
        };
        looks(0, [0, 0]);
        write("half");
        looks(0, [0, 0]);
        write("second");
        looks(0, [0, 0]);
        looks(0, [1, 0]);
        assert_eq!(*kept.current(), "second");
        write("");
        looks(0, [1, 0]);
        looks(0, [1, 1]);
        looks(0, [1, 1]);
        assert_eq!(*kept.current(), "second");
        // Gone is no better than empty.
        std::fs::remove_file(&file).unwrap();
        looks(0, [1, 1]);
        looks(0, [1, 2]);
        write("expired");
        looks(6, [1, 2]);
        looks(6, [2, 2]);
        write("late");
        looks(6, [2, 2]);
        looks(6, [2, 3]);
        assert_eq!(*kept.current(), "expired");
        // One that has expired is no worse than another.
        write("later");
        looks(9, [2, 3]);
        looks(9, [3, 3]);
        drop(kept);
        assert!(certificates.shown().is_empty());
    }
}
