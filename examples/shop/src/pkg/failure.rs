//! What broke below the business.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What broke below the business, which cannot help it: handed up as it is, for the transport to
/// tell what its caller should know. Equal when it reads the same.
#[derive(Clone, Debug)]
pub struct Failure(Arc<Box<dyn Error + Send + Sync>>);

impl Failure {
    /// Of this.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::new(error.into()))
    }

    /// What it was made of; its text alone where a clone of it still lives.
    #[must_use]
    pub fn into_inner(self) -> Box<dyn Error + Send + Sync> {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| shared.to_string().into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq for Failure {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Failure {}
