//! What the operating system is asked for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open descriptors as far as this process may: an overloaded server's clients
/// hold thousands of connections.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Best effort: with fewer descriptors, connections beyond them count as errors.
    let _ = setrlimit(Resource::Nofile, raised);
}
