//! Code from protobuf definitions, for a service's `build.rs`.
