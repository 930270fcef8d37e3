//! How values become bytes for Redis and the reserve.

use std::error::Error;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are no value of the type that was asked for: another version of the program wrote them,
/// or they are not ours. Counted and treated as a miss; what is loaded then replaces them.
#[derive(Debug, thiserror::Error)]
#[error("the cached bytes do not decode: {0}")]
pub struct NotDecoded(#[source] pub Box<dyn Error + Send + Sync>);

/// How values of one type become bytes and values again.
///
/// ```
/// use seawall_cache::{Codec, Json};
///
/// let codec = Json::<Vec<u8>>::default();
/// let bytes = codec.encode(&vec![1, 2]).unwrap();
/// assert_eq!(codec.decode(&bytes).unwrap(), [1, 2]);
/// ```
pub trait Codec<V>: Send + Sync + 'static {
    /// The value's bytes.
    ///
    /// # Errors
    /// The value cannot be written: it is not kept in Redis, and its caller gets it all the same.
    fn encode(&self, value: &V) -> Result<Bytes, Box<dyn Error + Send + Sync>>;

    /// The value of these bytes, which may be anything.
    ///
    /// # Errors
    /// They are no such value.
    fn decode(&self, bytes: &[u8]) -> Result<V, NotDecoded>;
}

/// JSON by serde: what one can read with `redis-cli`, and what a field can be added to.
#[derive(Debug)]
pub struct Json<V>(PhantomData<fn() -> V>);

impl<V> Default for Json<V> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<V: Serialize + DeserializeOwned + 'static> Codec<V> for Json<V> {
    fn encode(&self, value: &V) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        Ok(serde_json::to_vec(value)?.into())
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, NotDecoded> {
        serde_json::from_slice(bytes).map_err(|error| NotDecoded(error.into()))
    }
}

/// Values that are bytes already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn encode(&self, value: &Bytes) -> Result<Bytes, Box<dyn Error + Send + Sync>> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Bytes, NotDecoded> {
        Ok(Bytes::copy_from_slice(bytes))
    }
}
