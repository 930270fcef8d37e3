//! What is read of the catalog: by whatever shows it, past the business, which has no say in it.

use std::future::Future;

use seawall::data::Error;
use serde::{Deserialize, Serialize};

/// A product in a list, and while it is sold: the hot columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductView {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub title: String,
    /// What one costs, in cents.
    pub price: u64,
    /// How many there are.
    pub stock: u32,
}

/// What the page of a product shows besides: the cold columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetailsView {
    /// A text.
    pub description: String,
    /// Facts, as lines of `name: value`.
    pub attributes: String,
}

/// Why a product is not shown.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
    /// It was not to be had through the cache.
    #[error(transparent)]
    Cache(#[from] seawall_cache::Error),
}

/// The queries: what they answer may be a moment old.
pub trait Views: Send + Sync + 'static {
    /// A product.
    fn product(
        &self,
        id: u32,
    ) -> impl Future<Output = Result<Option<ProductView>, QueryError>> + Send;
    /// The numbers of up to `most` products after that one, in order.
    fn ids(&self, after: u32, most: u32) -> impl Future<Output = Result<Vec<u32>, Error>> + Send;
    /// What else there is to know of it.
    fn details(&self, id: u32) -> impl Future<Output = Result<Option<DetailsView>, Error>> + Send;
    /// Up to `most` products after that number, by number.
    fn list(
        &self,
        after: u32,
        most: u32,
    ) -> impl Future<Output = Result<Vec<ProductView>, Error>> + Send;
    /// Up to `most` products that go with this one and are there.
    fn recommended(
        &self,
        id: u32,
        most: u32,
    ) -> impl Future<Output = Result<Vec<ProductView>, Error>> + Send;
}
