//! What can go wrong with an etcd.

use std::sync::Arc;

/// Why an etcd did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The program was built without the feature.
    #[error("this program was built without the feature `etcd`")]
    NotBuilt,
    /// No connection.
    #[error("{server} cannot be reached: {error}")]
    Unreachable {
        /// Which server.
        server: Arc<str>,
        /// What is wrong.
        error: Arc<str>,
    },
    /// No answer in time. A server that is not the leader and cannot find one is silent, too.
    #[error("{server} does not answer")]
    Silent {
        /// Which server.
        server: Arc<str>,
    },
    /// It answered with an error.
    #[error("{server} answers: {error} (gRPC code {code})")]
    Refused {
        /// Which server.
        server: Arc<str>,
        /// gRPC's number of the kind of error.
        code: i32,
        /// What it says.
        error: Arc<str>,
    },
    /// Nothing is registered there, and nothing was since the program started.
    #[error("no instance of the service is registered")]
    NoInstance,
    /// So many keys that it is no list of instances.
    #[error("more than {0} instances: is the prefix that of something else?")]
    TooMany(usize),
}

#[cfg(feature = "etcd")]
impl Error {
    pub(super) const fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::Refused { code: 16, .. })
    }
}
