//! Notes: something to keep, found again by number or by age.

use std::error;
use std::future::Future;
use std::time::SystemTime;

use crate::pkg::clock::Clock;

#[cfg(test)]
mod tests;

/// How many notes a page has where nobody says.
const PAGE: u32 = 20;

/// A note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Given by the store, ascending.
    pub id: u64,
    pub title: String,
    pub text: String,
    pub written: SystemTime,
}

/// A note that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub title: String,
    pub text: String,
}

/// Why something cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no note {0}")]
    NotFound(u64),
    #[error("a note with the title `{0}` is there already")]
    TitleTaken(String),
    #[error("the store: {0}")]
    Store(Box<dyn error::Error + Send + Sync>),
}

/// What the business needs of a store: a port. `data` implements it.
pub trait Store: Send + Sync + 'static {
    /// Keeps a note; [`Error::TitleTaken`] if another has its title.
    fn add(
        &self,
        draft: Draft,
        written: SystemTime,
    ) -> impl Future<Output = Result<Note, Error>> + Send;

    /// [`Error::NotFound`] if there is none.
    fn get(&self, id: u64) -> impl Future<Output = Result<Note, Error>> + Send;

    /// At most `limit` notes whose numbers are below `before`, the newest first.
    fn list(
        &self,
        before: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Note>, Error>> + Send;
}

/// What can be done with notes.
#[derive(Debug)]
pub struct Notes<S> {
    store: S,
    clock: Clock,
}

impl<S: Store> Notes<S> {
    pub fn new(store: S, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Keeps a note, its title without the blanks around it.
    pub async fn create(&self, draft: Draft) -> Result<Note, Error> {
        let title = draft.title.trim().to_owned();
        let draft = Draft { title, ..draft };
        self.store.add(draft, (self.clock)()).await
    }

    /// One note.
    pub async fn get(&self, id: u64) -> Result<Note, Error> {
        self.store.get(id).await
    }

    /// A page of notes, the newest first: those older than `before`.
    pub async fn list(&self, before: Option<u64>, size: Option<u32>) -> Result<Vec<Note>, Error> {
        let before = before.unwrap_or(u64::MAX);
        self.store.list(before, size.unwrap_or(PAGE)).await
    }
}
