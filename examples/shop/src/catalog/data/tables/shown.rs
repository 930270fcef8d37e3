//! What is read of the catalog, past its business.

use seawall::data::{Database, Error};

use super::Db;
use crate::catalog::data::{DetailsView, ProductView, QueryError, Views};
use crate::config::REPORTS;
use crate::pkg::number;

/// The queries, on a replica where there is one; but for what is cached, which is to be the latest.
#[derive(Clone, Debug)]
pub struct Shown {
    database: Database<Db>,
}

type Row = (i64, String, i64, i64);

impl Shown {
    /// Over this database.
    #[must_use]
    pub fn new(database: Database<Db>) -> Self {
        Self { database }
    }
}

impl Views for Shown {
    async fn product(&self, id: u32) -> Result<Option<ProductView>, QueryError> {
        let row: Option<Row> =
            sqlx::query_as("SELECT id, title, price, stock FROM products WHERE id = ?")
                .bind(i64::from(id))
                .fetch_optional(&mut self.database.read().latest().await?)
                .await
                .map_err(Error::from)?;
        Ok(row.map(view))
    }

    async fn ids(&self, after: u32, most: u32) -> Result<Vec<u32>, Error> {
        let rows: Vec<(i64,)> =
            sqlx::query_as("SELECT id FROM products WHERE id > ? ORDER BY id LIMIT ?")
                .bind(i64::from(after))
                .bind(i64::from(most))
                .fetch_all(&mut self.database.read().lane(REPORTS).latest().await?)
                .await?;
        Ok(rows.into_iter().map(|(id,)| number::small(id)).collect())
    }

    async fn details(&self, id: u32) -> Result<Option<DetailsView>, Error> {
        let row: Option<(String, String)> = sqlx::query_as(
            "SELECT description, attributes FROM product_details WHERE product_id = ?",
        )
        .bind(i64::from(id))
        .fetch_optional(&mut self.database.read().await?)
        .await?;
        Ok(row.map(|(description, attributes)| DetailsView {
            description,
            attributes,
        }))
    }

    async fn list(&self, after: u32, most: u32) -> Result<Vec<ProductView>, Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, title, price, stock FROM products WHERE id > ? ORDER BY id LIMIT ?",
        )
        .bind(i64::from(after))
        .bind(i64::from(most))
        .fetch_all(&mut self.database.read().lane(REPORTS).await?)
        .await?;
        Ok(rows.into_iter().map(view).collect())
    }

    async fn recommended(&self, id: u32, most: u32) -> Result<Vec<ProductView>, Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT p.id, p.title, p.price, p.stock FROM recommendations r
             JOIN products p ON p.id = r.recommended_id
             WHERE r.product_id = ? AND p.stock > 0 ORDER BY p.id LIMIT ?",
        )
        .bind(i64::from(id))
        .bind(i64::from(most))
        .fetch_all(&mut self.database.read().await?)
        .await?;
        Ok(rows.into_iter().map(view).collect())
    }
}

fn view((id, title, price, stock): Row) -> ProductView {
    ProductView {
        id: number::small(id),
        title,
        price: number::unsigned(price),
        stock: number::small(stock),
    }
}
