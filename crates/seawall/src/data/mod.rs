//! Databases: a primary that is written to, replicas that are read, and nobody who misses his own
//! write.
//!
//! [`Database`] stands on sqlx: queries are sqlx's, connections are `&mut` [`Connection`]. What it adds
//! is what goes wrong between a service and its database:
//!
//! - **Reads go to a replica that is not too far behind**, to the primary where none is, within
//!   [a limit](Settings::fallback) that keeps the loss of the replicas from becoming the loss of the
//!   primary. That limit is one of connections, not of requests a second: by Little's law it is a share
//!   of the primary's time, whatever the reads cost. Lag is measured by positions (`lag`).
//! - **Own writes are seen**, exactly: a read goes to a replica only where that has, by GTID, all that
//!   its caller has written, and the very connection it reads over has confirmed it (`writers`). The
//!   caller is the [session](Read::session) that is stated, else the tenant of the ambient call, and
//!   always the call itself. Between processes a [`Position`] travels.
//! - **Pools apart**: writes, reads, reads of one's own writes, reads in want of a replica, and each
//!   [lane](Settings::lanes) all of these anew. Waiting is bounded by the call's deadline.
//! - **Nothing that was broken off is used again.** A dropped future leaves half an answer in its
//!   connection and its statement at the server: both are ended.
//! - **Transactions** commit, or roll back on an error, a panic and a dropped future, and are tried
//!   again after a deadlock where that is stated to be safe.
//!
//! ```
//! use seawall::data::{Database, Error, Settings};
//! use sqlx::Sqlite;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let directory = tempfile::tempdir().unwrap();
//! let url = format!("sqlite://{}/shop.db", directory.path().display());
//! let shop = Database::<Sqlite>::open(&Settings::new(url)).await?;
//! shop.migrate(&[("0001_notes", "CREATE TABLE notes (text TEXT NOT NULL)")]).await?;
//!
//! shop.transaction(async |tx| {
//!     sqlx::query("INSERT INTO notes VALUES (?)").bind("first").execute(&mut *tx).await?;
//!     Ok::<_, Error>(())
//! })
//! .await?;
//!
//! let mut reader = shop.read().await?;
//! let notes: Vec<(String,)> = sqlx::query_as("SELECT text FROM notes").fetch_all(&mut reader).await?;
//! assert_eq!(notes, [("first".to_owned(),)]);
//! # Ok::<_, Error>(()) }).unwrap();
//! ```
//!
//! # Transactions as a port of the business layer
//!
//! The business layer says what it needs in its own words, and what of it belongs together; it knows
//! neither sqlx nor this. The data layer implements that with a transaction, a test with a map.
//!
//! Where the port begins a transaction and commits it by value, [`Transaction`] is what it holds: the
//! traits are plain then, and nothing is tried again. Below is the port that may be.
//!
//! ```
//! // biz: no database in sight.
//! mod biz {
//!     use std::pin::Pin;
//!
//!     #[derive(Debug)]
//!     pub struct Failed(pub String);
//!     pub type Done<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failed>> + Send + 'a>>;
//!
//!     /// What belongs together goes through one of these.
//!     pub trait Stock: Send {
//!         fn left(&mut self, item: u32) -> Done<'_, i64>;
//!         fn take(&mut self, item: u32, count: i64) -> Done<'_, ()>;
//!     }
//!     /// All of `work`, or nothing of it.
//!     pub trait Transactor: Send + Sync {
//!         fn all<'a, T: Send + 'a>(
//!             &'a self,
//!             work: impl for<'s> FnOnce(&'s mut dyn Stock) -> Done<'s, T> + Send + Clone + 'a,
//!         ) -> impl Future<Output = Result<T, Failed>> + Send;
//!     }
//!     pub async fn order(at: &impl Transactor, item: u32, count: i64) -> Result<i64, Failed> {
//!         at.all(move |stock| {
//!             Box::pin(async move {
//!                 let left = stock.left(item).await?;
//!                 if left < count {
//!                     return Err(Failed(format!("{left} left")));
//!                 }
//!                 stock.take(item, count).await?;
//!                 Ok(left - count)
//!             })
//!         })
//!         .await
//!     }
//! }
//!
//! // data: rows, SQL, and one transaction.
//! mod data {
//!     use super::biz::{Done, Failed, Stock, Transactor};
//!     use seawall::data::{Connection, Database, Error};
//!     use sqlx::Sqlite;
//!
//!     pub struct Shop(pub Database<Sqlite>);
//!     struct Rows<'a>(&'a mut Connection<Sqlite>);
//!
//!     impl From<Error> for Failed {
//!         fn from(error: Error) -> Self {
//!             Self(error.to_string())
//!         }
//!     }
//!     impl Transactor for Shop {
//!         async fn all<'a, T: Send + 'a>(
//!             &'a self,
//!             work: impl for<'s> FnOnce(&'s mut dyn Stock) -> Done<'s, T> + Send + Clone + 'a,
//!         ) -> Result<T, Failed> {
//!             // Tried again after a deadlock, so `work` has no effect but on its stock.
//!             self.0.write().transaction_with_retry(async |tx| work(&mut Rows(tx)).await).await
//!         }
//!     }
//!     impl Stock for Rows<'_> {
//!         fn left(&mut self, item: u32) -> Done<'_, i64> {
//!             Box::pin(async move {
//!                 let left = sqlx::query_scalar("SELECT left FROM stock WHERE item = ?").bind(item);
//!                 Ok(left.fetch_one(&mut *self.0).await.map_err(Error::from)?)
//!             })
//!         }
//!         fn take(&mut self, item: u32, count: i64) -> Done<'_, ()> {
//!             Box::pin(async move {
//!                 let take = sqlx::query("UPDATE stock SET left = left - ? WHERE item = ?");
//!                 take.bind(count).bind(item).execute(&mut *self.0).await.map_err(Error::from)?;
//!                 Ok(())
//!             })
//!         }
//!     }
//! }
//!
//! // A test of biz needs no database.
//! use biz::{Done, Failed, Stock, Transactor};
//! use std::sync::Mutex;
//!
//! struct Fake(Mutex<i64>);
//! struct Copy(i64);
//! impl Stock for Copy {
//!     fn left(&mut self, _: u32) -> Done<'_, i64> {
//!         Box::pin(async { Ok(self.0) })
//!     }
//!     fn take(&mut self, _: u32, count: i64) -> Done<'_, ()> {
//!         self.0 -= count;
//!         Box::pin(async { Ok(()) })
//!     }
//! }
//! impl Transactor for Fake {
//!     async fn all<'a, T: Send + 'a>(
//!         &'a self,
//!         work: impl for<'s> FnOnce(&'s mut dyn Stock) -> Done<'s, T> + Send + Clone + 'a,
//!     ) -> Result<T, Failed> {
//!         let mut copy = Copy(*self.0.lock().unwrap());
//!         let done = work(&mut copy).await?;
//!         *self.0.lock().unwrap() = copy.0; // the commit
//!         Ok(done)
//!     }
//! }
//!
//! # use seawall::data::{Database, Error, Settings};
//! # fn main() {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let fake = Fake(Mutex::new(3));
//! assert_eq!(biz::order(&fake, 1, 2).await.unwrap(), 1);
//! assert!(biz::order(&fake, 1, 2).await.is_err());
//! # let directory = tempfile::tempdir().unwrap();
//! # let url = format!("sqlite://{}/shop.db", directory.path().display());
//! # let shop = Database::<sqlx::Sqlite>::open(&Settings::new(url)).await?;
//! # let stock = "CREATE TABLE stock (item INT, left INT); INSERT INTO stock VALUES (1, 3)";
//! # shop.migrate(&[("0001_stock", stock)]).await?;
//! // And the same with the database.
//! let shop = data::Shop(shop);
//! assert_eq!(biz::order(&shop, 1, 2).await.unwrap(), 1);
//! assert!(biz::order(&shop, 1, 2).await.is_err());
//! # Ok::<_, Error>(()) }).unwrap(); }
//! ```

mod backend;
mod connection;
mod database;
mod error;
mod lag;
#[cfg(feature = "app")]
mod metrics;
mod migrate;
mod pool;
mod position;
mod probe;
#[cfg(feature = "api")]
mod reply;
mod server;
mod settings;
mod transaction;
mod writers;

pub use backend::Backend;
pub use connection::Connection;
pub use database::{Database, Read, ReplicaStats, Stats, Write};
pub use error::Error;
pub use pool::PoolStats;
pub use position::{Position, PositionError};
pub use settings::{DatabaseUrl, LaneSettings, Settings};
pub use transaction::Transaction;
