//! Hot keys: one key that everyone asks for is one server's burden, however many servers there are.
mod detector;
mod keeper;
mod stream;
pub use detector::HotSettings;
