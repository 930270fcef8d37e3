//! What a call says of itself, where there is no request that it is made for.

use std::time::Duration;

use tonic::Request;
use tonic::metadata::MetadataValue;

use super::Repeatable;
use crate::Criticality;

/// A call of a generated client, told more. Inside a handler nothing of it is needed: deadline and
/// criticality are those of the request that is handled.
///
/// ```
/// use seawall::Criticality;
/// use seawall::api::tonic::Request;
/// use seawall::client::CallExt;
/// use std::time::Duration;
///
/// let call = Request::new(()).timeout(Duration::from_secs(2)).criticality(Criticality::Sheddable);
/// assert_eq!(call.metadata().get("seawall-criticality").unwrap(), "sheddable");
/// assert_eq!(call.metadata().get("grpc-timeout").unwrap(), "2000000u");
/// ```
pub trait CallExt: Sized {
    /// How long it may take, retries and the answer's last message included. Of this and the time
    /// left to the request that is handled, the shorter holds.
    #[must_use]
    fn timeout(self, time: Duration) -> Self;

    /// How much depends on it.
    #[must_use]
    fn criticality(self, criticality: Criticality) -> Self;

    /// It may run twice, whatever its method says.
    #[must_use]
    fn repeatable(self) -> Self;
}

impl<T> CallExt for Request<T> {
    fn timeout(mut self, time: Duration) -> Self {
        self.set_timeout(time);
        self
    }

    fn criticality(mut self, criticality: Criticality) -> Self {
        let value = MetadataValue::from_static(criticality.as_str());
        self.metadata_mut().insert("seawall-criticality", value);
        self
    }

    fn repeatable(mut self) -> Self {
        self.extensions_mut().insert(Repeatable);
        self
    }
}
