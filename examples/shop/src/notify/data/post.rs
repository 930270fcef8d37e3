//! What brings notices to customers: here, a line in the log.

use crate::notify::biz::{Error, Mail, Notice};

/// Writes a line for each notice. A shop that is no example sends mail.
#[derive(Clone, Copy, Debug, Default)]
pub struct Post;

impl Mail for Post {
    async fn send(&self, notice: &Notice) -> Result<(), Error> {
        tracing::info!(
            to = notice.customer,
            order = notice.order,
            "{}",
            notice.text
        );
        Ok(())
    }
}
