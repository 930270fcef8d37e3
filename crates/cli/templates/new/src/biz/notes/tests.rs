//! The business alone: a fake written by hand, no transport, no database, no runtime's clock.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use super::{Draft, Error, Note, Notes, Store};

/// A store that is a list. A few lines tell more than expectations on a mock, and hold when the
/// business changes the order in which it asks.
#[derive(Default)]
struct Shelf(Mutex<Vec<Note>>);

impl Store for Shelf {
    async fn add(&self, draft: Draft, written: SystemTime) -> Result<Note, Error> {
        let mut notes = self.0.lock().unwrap();
        let Draft { title, text } = draft;
        if notes.iter().any(|note| note.title == title) {
            return Err(Error::TitleTaken(title));
        }
        let id = notes.len() as u64 + 1;
        let note = Note {
            id,
            title,
            text,
            written,
        };
        notes.push(note.clone());
        Ok(note)
    }

    async fn get(&self, id: u64) -> Result<Note, Error> {
        let notes = self.0.lock().unwrap();
        let found = notes.iter().find(|note| note.id == id);
        found.cloned().ok_or(Error::NotFound(id))
    }

    async fn list(&self, before: u64, limit: u32) -> Result<Vec<Note>, Error> {
        let notes = self.0.lock().unwrap();
        let older = notes.iter().rev().filter(|note| note.id < before);
        Ok(older.take(limit as usize).cloned().collect())
    }
{{#admin}}

    async fn count(&self) -> Result<u64, Error> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    async fn remove(&self, id: u64) -> Result<(), Error> {
        self.0.lock().unwrap().retain(|note| note.id != id);
        Ok(())
    }
{{/admin}}
{{#job}}

    async fn remove_before(&self, time: SystemTime) -> Result<u64, Error> {
        let mut notes = self.0.lock().unwrap();
        let before = notes.len();
        notes.retain(|note| note.written >= time);
        Ok((before - notes.len()) as u64)
    }
{{/job}}
}

fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(43_200)
}

fn notes() -> Notes<Shelf> {
    Notes::new(Shelf::default(), noon)
}

fn draft(title: &str) -> Draft {
    Draft {
        title: title.to_owned(),
        text: String::new(),
    }
}

#[tokio::test]
async fn a_note_has_the_time_of_now_and_a_title_without_blanks() {
    let notes = notes();
    let note = notes.create(draft("  Milk ")).await.unwrap();
    assert_eq!((&*note.title, note.written), ("Milk", noon()));
    assert_eq!(notes.get(note.id).await.unwrap(), note);
}

#[tokio::test]
async fn a_title_is_given_once() {
    let notes = notes();
    notes.create(draft("Milk")).await.unwrap();
    let again = notes.create(draft(" Milk")).await;
    assert!(matches!(again, Err(Error::TitleTaken(title)) if title == "Milk"));
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest() {
    let notes = notes();
    for number in 1..=30 {
        notes.create(draft(&number.to_string())).await.unwrap();
    }
    let ids = |page: Vec<Note>| page.iter().map(|note| note.id).collect::<Vec<_>>();
    let first = ids(notes.list(None, None).await.unwrap());
    assert_eq!(first, (11..=30).rev().collect::<Vec<_>>());
    let next = ids(notes.list(Some(11), Some(2)).await.unwrap());
    assert_eq!(next, [10, 9]);
}
{{#job}}

#[tokio::test]
async fn what_is_older_than_the_age_goes() {
    let notes = notes();
    notes.create(draft("Milk")).await.unwrap();
    assert_eq!(notes.expire(Duration::MAX).await.unwrap(), 0);
    assert_eq!(notes.expire(Duration::ZERO).await.unwrap(), 0);
    let later = Notes::new(notes.store, || noon() + Duration::from_secs(60));
    assert_eq!(later.expire(Duration::from_secs(61)).await.unwrap(), 0);
    assert_eq!(later.expire(Duration::from_secs(59)).await.unwrap(), 1);
    assert!(matches!(later.get(1).await, Err(Error::NotFound(1))));
}
{{/job}}
