//! Something to sell, where there is nothing yet.

use seawall::data::{Database, Error};

use super::Db;

const KINDS: [&str; 5] = ["tea", "coffee", "cup", "kettle", "honey"];
const SORTS: [&str; 4] = ["plain", "fine", "strong", "old"];

/// Puts twenty products on an empty shelf; does nothing where there is one.
///
/// # Errors
/// The database fails.
pub async fn seed(database: &Database<Db>) -> Result<(), Error> {
    let mut tx = database.begin().await?;
    let marker = "INSERT INTO products (id, title, price, stock) VALUES (?, ?, ?, ?)";
    let mut products = Vec::new();
    for sort in SORTS {
        products.extend(KINDS.map(|kind| format!("{sort} {kind}")));
    }
    for (id, title) in (1_i64..).zip(products) {
        let product = sqlx::query(marker)
            .bind(id)
            .bind(&title)
            .bind(200 + 35 * id)
            .bind(10_000_i64)
            .execute(&mut *tx)
            .await
            .map_err(Error::from);
        match product {
            Ok(_) => {}
            // The first one is there: so are the others.
            Err(error) if error.is_duplicate() => return Ok(()),
            Err(error) => return Err(error),
        }
        sqlx::query(
            "INSERT INTO product_details (product_id, description, attributes) VALUES (?, ?, ?)",
        )
        .bind(id)
        .bind(format!("A {title}, as it should be."))
        .bind("origin: somewhere\nkeeps: a year")
        .execute(&mut *tx)
        .await?;
        for recommended in [id % 20 + 1, (id + 4) % 20 + 1] {
            sqlx::query("INSERT INTO recommendations (product_id, recommended_id) VALUES (?, ?)")
                .bind(id)
                .bind(recommended)
                .execute(&mut *tx)
                .await?;
        }
    }
    tx.commit().await
}
