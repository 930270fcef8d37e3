//! What a panic said.

use std::any::Any;

/// The message of a panic, for an error that carries it further.
pub(crate) fn message(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().map_or_else(
            || "a payload that is no text".to_owned(),
            |text| (*text).to_owned(),
        ),
    }
}
