//! What is read of notices.

use std::future::Future;

use seawall::data::Error;

use crate::notify::biz::Notice;

/// A notice as it is listed: the same as it is kept.
pub type NoticeView = Notice;

/// The queries: what they answer may be a moment old.
pub trait Views: Send + Sync + 'static {
    /// A customer's notices, the latest first, up to `most`.
    fn latest(
        &self,
        customer: &str,
        most: u32,
    ) -> impl Future<Output = Result<Vec<NoticeView>, Error>> + Send;
}
