//! `shop.v1.Notes`.

use std::sync::Arc;

use api::shop::v1;
use seawall::api::{Code, Error, Request};

use crate::biz::notes as biz;

/// The service, on either transport.
#[derive(Debug)]
pub struct Notes<S> {
    notes: Arc<biz::Notes<S>>,
}

impl<S: biz::Store> Notes<S> {
    pub fn new(notes: Arc<biz::Notes<S>>) -> Self {
        Self { notes }
    }
}

impl<S: biz::Store> v1::Notes for Notes<S> {
    async fn create_note(
        &self,
        request: Request<v1::CreateNoteRequest>,
    ) -> Result<v1::Note, Error> {
        let v1::CreateNoteRequest { title, text } = request.into_message();
        let note = self.notes.create(biz::Draft { title, text }).await;
        note.map(message).map_err(error)
    }

    async fn get_note(&self, request: Request<v1::GetNoteRequest>) -> Result<v1::Note, Error> {
        let note = self.notes.get(request.message().id).await;
        note.map(message).map_err(error)
    }

    async fn list_notes(
        &self,
        request: Request<v1::ListNotesRequest>,
    ) -> Result<v1::ListNotesReply, Error> {
        let v1::ListNotesRequest { page_size, before } = request.into_message();
        // In proto3 a number that is left out is zero.
        let size = (page_size > 0).then_some(page_size);
        let before = (before > 0).then_some(before);
        let notes = self.notes.list(before, size).await.map_err(error)?;
        let notes = notes.into_iter().map(message).collect();
        Ok(v1::ListNotesReply { notes })
    }
}

fn message(note: biz::Note) -> v1::Note {
    v1::Note {
        id: note.id,
        title: note.title,
        text: note.text,
        written: Some(note.written.into()),
    }
}

/// What a caller may know of an error.
fn error(error: biz::Error) -> Error {
    match error {
        biz::Error::NotFound(id) => {
            Error::of(v1::NoteError::NoteNotFound).with("id", id.to_string())
        }
        biz::Error::TitleTaken(title) => {
            Error::of(v1::NoteError::NoteTitleTaken).with("title", title)
        }
        biz::Error::Store(error) => {
            tracing::error!(%error, "the store failed");
            Error::new(Code::Unavailable, "STORE", "notes cannot be reached now")
        }
    }
}
