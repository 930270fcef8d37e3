//! For operators: on the admin listener, which is reached from this machine or with a token, and
//! never by users. Its own routes, in JSON; its words are those of `biz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get};

use crate::biz::notes::{Error, Notes, Store};

/// The routes: `GET /notes` and `DELETE /notes/{id}`.
pub fn router<S: Store>(notes: Arc<Notes<S>>) -> Router {
    Router::new()
        .route("/notes", get(totals::<S>))
        .route("/notes/{id}", delete(remove::<S>))
        .with_state(notes)
}

async fn totals<S: Store>(
    State(notes): State<Arc<Notes<S>>>,
) -> Result<impl IntoResponse, (StatusCode, String)> {
    let notes = notes.count().await.map_err(told)?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, format!("{{\"notes\": {notes}}}\n")))
}

async fn remove<S: Store>(
    State(notes): State<Arc<Notes<S>>>,
    Path(id): Path<u64>,
) -> Result<StatusCode, (StatusCode, String)> {
    notes.remove(id).await.map_err(told)?;
    tracing::warn!(id, "a note was removed by an operator");
    Ok(StatusCode::NO_CONTENT)
}

/// An operator is told everything.
fn told(error: Error) -> (StatusCode, String) {
    let status = match error {
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::TitleTaken(_) => StatusCode::CONFLICT,
        Error::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{error}\n"))
}
