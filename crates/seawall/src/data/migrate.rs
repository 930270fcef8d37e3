//! Migrations: numbered steps, each applied once.
//!
//! A runner of a page, rather than sqlx's: that one reads a directory at run time, or by a macro that
//! brings all of sqlx's macros along, and leaves the wait for another instance's migration unbounded.
//! Here the steps are texts (`include_str!`) that go with the program.

use sha2::{Digest as _, Sha256};

use super::backend::Backend;
use super::connection::Connection;
use super::{Database, Error};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS seawall_migrations (\
    name VARCHAR(190) NOT NULL PRIMARY KEY, digest VARCHAR(64) NOT NULL, done INT NOT NULL)";
/// Tries of ten seconds each to be the one who migrates.
const TRIES: u32 = 30;

impl<DB: Backend> Database<DB> {
    /// Applies the steps that have not been applied, in order; how many those were. Each is a name,
    /// `0001_orders` say, and SQL of one or more statements; names ascend.
    ///
    /// One instance applies them, others wait for it, five minutes at most. With SQLite a step is done
    /// whole or not at all. MariaDB cannot roll back changes of tables: a step that failed halfway is
    /// noted as such, and nothing is applied before somebody has put it right. So let a step be a
    /// single statement there. Steps that the database knows and this program does not are those of
    /// a newer one, and let be.
    ///
    /// The time limit of statements does not hold for them; not cancel-safe with MariaDB.
    ///
    /// # Errors
    /// [`Error::Migration`] where a step fails, has been changed since it was applied, comes before
    /// one that has been applied, or was left half done; else those of the database.
    pub async fn migrate(&self, steps: &[(&str, &str)]) -> Result<usize, Error> {
        if let Some(pair) = steps.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(wrong(pair[1].0, format!("has to come after {}", pair[0].0)));
        }
        if let Some((name, _)) = steps.iter().find(|(name, _)| !is_name(name)) {
            return Err(wrong(name, "1 to 190 of A-Z a-z 0-9 _ - .".to_owned()));
        }
        let mut connection = self.write().await?;
        connection.without_limit().await?;
        lock(&mut connection).await?;
        connection.command(TABLE).await?;
        let mut applied = 0;
        for (name, sql) in steps {
            applied += usize::from(connection.step(name, sql).await?);
        }
        if let Some(unlock) = DB::UNLOCK {
            connection.command(unlock).await?;
        }
        connection.wrote();
        Ok(applied)
    }
}

/// What can stand in a statement as it is.
fn is_name(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (1..=190).contains(&name.len()) && name.bytes().all(letter)
}

fn wrong(name: &str, problem: String) -> Error {
    Error::Migration {
        name: name.to_owned(),
        problem,
    }
}

async fn lock<DB: Backend>(connection: &mut Connection<DB>) -> Result<(), Error> {
    let Some(lock) = DB::LOCK else { return Ok(()) };
    for _ in 0..TRIES {
        if connection.text(lock).await? == "1" {
            return Ok(());
        }
    }
    Err(wrong(
        "any",
        "another instance has been at it for five minutes".to_owned(),
    ))
}

impl<DB: Backend> Connection<DB> {
    /// Whether it was to be applied.
    async fn step(&mut self, name: &str, sql: &str) -> Result<bool, Error> {
        let digest: String = Sha256::digest(sql)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        if DB::ONE_WRITER {
            self.run(DB::BEGIN.to_owned()).await?;
        }
        let asked = self.is_new(name, &digest).await;
        if !matches!(asked, Ok(true)) {
            if DB::ONE_WRITER {
                self.run("ROLLBACK".to_owned()).await?;
            }
            return asked;
        }
        let note = format!("INSERT INTO seawall_migrations VALUES ('{name}', '{digest}', 0)");
        self.run(note).await?;
        if let Err(error) = self.run(sql.to_owned()).await {
            if DB::ONE_WRITER {
                self.run("ROLLBACK".to_owned()).await?;
            }
            return Err(wrong(name, error.to_string()));
        }
        let done = format!("UPDATE seawall_migrations SET done = 1 WHERE name = '{name}'");
        self.run(done).await?;
        if DB::ONE_WRITER {
            self.run("COMMIT".to_owned()).await?;
        }
        Ok(true)
    }

    async fn is_new(&mut self, name: &str, digest: &str) -> Result<bool, Error> {
        let known = format!(
            "SELECT coalesce(max(CASE done WHEN 1 THEN digest ELSE '?' END), '') FROM seawall_migrations WHERE name = '{name}'"
        );
        let known = self.text_of(known).await?;
        let problem = match known.as_str() {
            "" => return self.is_last(name).await,
            "?" => {
                "was left half done: put its tables right, then set `done` of seawall_migrations \
                 to 1, or delete the row for it to be applied anew"
            }
            applied if applied == digest => return Ok(false),
            _ => "has been changed since it was applied: undo that, and add a step",
        };
        Err(wrong(name, problem.to_owned()))
    }

    /// A step that comes before one that has been applied was made for other tables than these.
    async fn is_last(&mut self, name: &str) -> Result<bool, Error> {
        let later =
            format!("SELECT coalesce(max(name), '') FROM seawall_migrations WHERE name > '{name}'");
        match self.text_of(later).await?.as_str() {
            "" => Ok(true),
            later => Err(wrong(
                name,
                format!("comes before {later}, which has been applied"),
            )),
        }
    }
}
