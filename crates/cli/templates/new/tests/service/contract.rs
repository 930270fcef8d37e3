//! What the definition promises, by both transports, from the program itself.
//!
//! On several threads, so that clients hear that the program goes while a test waits for its end.

use api::{{crate}}::v1::{self, NoteError};
use seawall::api::{Code, Error};
use serde_json::json;

use crate::support::Service;

fn create(title: &str) -> v1::CreateNoteRequest {
    v1::CreateNoteRequest {
        title: title.to_owned(),
        text: "two litres".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_is_the_same_by_both_transports() {
    let service = Service::start().await;
    let mut grpc = service.grpc().await;

    let note = grpc.create_note(create("Milk")).await.unwrap().into_inner();
    let line = format!("GET /v1/notes/{}", note.id);
    let (status, body) = service.http(&line, "").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["title"], "Milk", "{body}");
    assert_eq!(body["text"], "two litres", "{body}");

    let bread = json!({"title": "Bread"}).to_string();
    let (status, body) = service.http("POST /v1/notes", &bread).await;
    assert_eq!(status, 200, "{body}");
    let list = v1::ListNotesRequest::default();
    let list = grpc.list_notes(list).await.unwrap().into_inner();
    let notes = list.notes.iter();
    let titles: Vec<_> = notes.map(|note| &*note.title).collect();
    assert_eq!(titles, ["Bread", "Milk"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_has_the_same_reason_by_both_transports() {
    let service = Service::start().await;
    let mut grpc = service.grpc().await;

    let seven = v1::GetNoteRequest { id: 7 };
    let missing = Error::from(grpc.get_note(seven).await.unwrap_err());
    assert!(missing.is(NoteError::NoteNotFound), "{missing}");
    assert_eq!(missing.code(), Code::NotFound);
    let (status, body) = service.http("GET /v1/notes/7", "").await;
    assert_eq!(status, 404, "{body}");
    assert_eq!(body["reason"], "NOTE_NOT_FOUND", "{body}");

    grpc.create_note(create("Milk")).await.unwrap();
    let taken = grpc.create_note(create("Milk")).await.unwrap_err();
    assert!(Error::from(taken).is(NoteError::NoteTitleTaken));
    let milk = json!({"title": "Milk"}).to_string();
    let (status, body) = service.http("POST /v1/notes", &milk).await;
    assert_eq!(status, 409, "{body}");
    assert_eq!(body["reason"], "NOTE_TITLE_TAKEN", "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_of_fields_hold_by_both_transports() {
    let service = Service::start().await;
    let mut grpc = service.grpc().await;

    let nameless = grpc.create_note(create("")).await.unwrap_err();
    assert_eq!(nameless.code(), Code::InvalidArgument);
    assert_eq!(Error::from(nameless).violations()[0].field, "title");
    let (status, body) = service.http("POST /v1/notes", "{}").await;
    assert_eq!(status, 400, "{body}");
    assert_eq!(body["violations"][0]["field"], "title", "{body}");
}
