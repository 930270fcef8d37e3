//! The HTTP data plane: listeners, the origin pool, forwarding, admin.
