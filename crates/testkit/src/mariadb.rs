//! MariaDB, alone or as a primary with replicas.
//!
//! A data directory takes seconds to initialise and a tenth of one to copy, so a process initialises
//! one and every server of it begins with a copy. The template goes with the last server: a process
//! that ends leaves nothing behind.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tempfile::TempDir;

use crate::{Error, Recipe, Server};

const PACKAGE: &str = "install it with: apt-get install --yes mariadb-server";

/// A MariaDB of one's own, with a binary log in row format and GTIDs. `root` has no password.
///
/// ```
/// # fn main() -> Result<(), seawall_testkit::Error> {
/// use seawall_testkit::MariaDb;
///
/// let primary = MariaDb::start()?;
/// let shop = primary.create("shop")?; // mysql://root@127.0.0.1:PORT/shop
/// primary.execute("CREATE TABLE shop.notes (text TEXT)")?;
/// let replica = MariaDb::replica_of(&primary)?;
/// replica.catch_up(&primary)?;
/// assert_eq!(replica.execute("SELECT count(*) FROM shop.notes")?, "0");
/// # let _ = shop;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct MariaDb {
    server: Server,
    _template: Arc<TempDir>,
}

impl MariaDb {
    /// Starts one: two or three seconds for the first of a process, half of one for others. Blocks
    /// the thread.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[])
    }

    /// As [`start`](Self::start), with more arguments of `mariadbd`.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start_with(arguments: &[&str]) -> Result<Self, Error> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let template = template()?;
        let mut recipe = Recipe::debian("mariadbd");
        recipe.remedy = PACKAGE.to_owned();
        let recipe = recipe
            .tree("data", template.path().join("data"))
            .set("id", NEXT.fetch_add(1, Relaxed))
            .arguments(&["--no-defaults", "--datadir=@dir@/data", "--tmpdir=@dir@"])
            .arguments(&["--socket=@dir@/s.sock", "--pid-file=@dir@/pid"])
            .arguments(&["--bind-address=127.0.0.1", "--port=@port@"])
            .arguments(&["--server-id=@id@", "--gtid-domain-id=0"])
            .arguments(&["--log-bin=@dir@/data/bin", "--relay-log=@dir@/data/relay"])
            .arguments(&["--binlog-format=ROW", "--binlog-row-image=FULL"])
            .arguments(&["--binlog-row-metadata=FULL", "--gtid-strict-mode=ON"])
            .arguments(&["--log-slave-updates=ON", "--skip-name-resolve"])
            .arguments(&["--innodb-buffer-pool-size=64M", "--innodb-log-file-size=8M"])
            .arguments(&["--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"])
            .arguments(&["--performance-schema=OFF", "--slave-net-timeout=5"])
            .arguments(&owner())
            .arguments(arguments)
            .patience(Duration::from_secs(30));
        Ok(Self {
            server: Server::start(&recipe)?,
            _template: template,
        })
    }

    /// A replica of `primary`, from its first transaction on, by GTID.
    ///
    /// # Errors
    /// It does not start, or `primary` does not answer.
    pub fn replica_of(primary: &Self) -> Result<Self, Error> {
        let replica = Self::start()?;
        let port = primary.address().port();
        replica.execute(&format!(
            "CHANGE MASTER TO master_host='127.0.0.1', master_port={port}, master_user='root', \
             master_password='', master_use_gtid=slave_pos, master_connect_retry=1; START SLAVE"
        ))?;
        Ok(replica)
    }

    /// A replica that shows each transaction so long after its primary; whole seconds.
    ///
    /// # Errors
    /// As [`replica_of`](Self::replica_of).
    pub fn replica_behind(primary: &Self, delay: Duration) -> Result<Self, Error> {
        let replica = Self::replica_of(primary)?;
        replica.delay(delay)?;
        Ok(replica)
    }

    /// Has a replica show each transaction so long after its primary, from now on; whole seconds.
    ///
    /// # Errors
    /// The server does not answer, or is no replica.
    pub fn delay(&self, delay: Duration) -> Result<(), Error> {
        let seconds = delay.as_secs();
        self.execute(&format!(
            "STOP SLAVE; CHANGE MASTER TO master_delay={seconds}; START SLAVE"
        ))?;
        Ok(())
    }

    /// Has a replica receive and no longer apply.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn stop_applying(&self) -> Result<(), Error> {
        self.execute("STOP SLAVE SQL_THREAD").map(drop)
    }

    /// Undoes [`stop_applying`](Self::stop_applying).
    ///
    /// # Errors
    /// The server does not answer.
    pub fn start_applying(&self) -> Result<(), Error> {
        self.execute("START SLAVE SQL_THREAD").map(drop)
    }

    /// Waits until this replica has what `primary` has now; ten seconds at most.
    ///
    /// # Errors
    /// It has not by then.
    pub fn catch_up(&self, primary: &Self) -> Result<(), Error> {
        let position = primary.execute("SELECT @@gtid_binlog_pos")?;
        let wait = format!("SELECT master_gtid_wait('{position}', 10)");
        match self.execute(&wait)?.as_str() {
            "0" => Ok(()),
            waited => Err(Error::Refused {
                message: format!("not there after ten seconds ({waited})"),
                statement: wait,
            }),
        }
    }

    /// Creates a database of this name, and tells its [`url`](Self::url).
    ///
    /// # Errors
    /// It is there already, or the server does not answer.
    pub fn create(&self, database: &str) -> Result<String, Error> {
        self.execute(&format!("CREATE DATABASE `{database}`"))?;
        Ok(self.url(database))
    }

    /// The URL of a database: `mysql://root@127.0.0.1:PORT/NAME`.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@{}/{database}", self.address())
    }

    /// Runs statements as `root`, by the command-line client and the server's socket, and tells what
    /// they answer: columns parted by tabs, rows by newlines, without a head.
    ///
    /// # Errors
    /// The server refuses one, or does not answer.
    pub fn execute(&self, statements: &str) -> Result<String, Error> {
        let socket = self.directory().join("s.sock");
        let mut client = Command::new("mariadb");
        client
            .args([
                "--no-defaults",
                "--user=root",
                "--batch",
                "--skip-column-names",
            ])
            .arg(format!("--socket={}", socket.display()))
            .arg(format!("--execute={statements}"));
        let output = output(client)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout)
                .trim_end()
                .to_owned());
        }
        Err(Error::Refused {
            statement: statements.to_owned(),
            message: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Deref for MariaDb {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for MariaDb {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// mariadbd refuses to run as root unless told to.
fn owner() -> Vec<&'static str> {
    let root = rustix::process::getuid().is_root();
    root.then_some("--user=root").into_iter().collect()
}

fn template() -> Result<Arc<TempDir>, Error> {
    static TEMPLATE: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    // Nothing is half done in it after a panic.
    let mut kept = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(template) = kept.upgrade() {
        return Ok(template);
    }
    let directory =
        TempDir::with_prefix("seawall-mariadb-").map_err(Error::io("temporary directory"))?;
    initialise(&directory.path().join("data"))?;
    let template = Arc::new(directory);
    *kept = Arc::downgrade(&template);
    Ok(template)
}

fn initialise(data: &Path) -> Result<(), Error> {
    let mut install = Command::new("mariadb-install-db");
    install
        .args(["--no-defaults", "--auth-root-authentication-method=normal"])
        .args(["--skip-test-db", "--innodb-log-file-size=8M"])
        .arg(format!("--datadir={}", data.display()))
        .args(owner());
    let output = output(install)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Ended {
        program: "mariadb-install-db".into(),
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn output(mut command: Command) -> Result<std::process::Output, Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::Missing {
            program,
            remedy: PACKAGE.to_owned(),
        },
        _ => Error::Io {
            path: PathBuf::from(program),
            source,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_follows_stops_and_follows_again_after_a_crash() {
        let mut primary = MariaDb::start().expect("a primary");
        primary.create("shop").expect("a database");
        let write = |primary: &MariaDb, n: u32| {
            let statement = format!("INSERT INTO shop.t VALUES ({n})");
            primary.execute(&statement).expect("it writes");
        };
        let seen = |replica: &MariaDb| replica.execute("SELECT max(n) FROM shop.t").expect("reads");
        primary
            .execute("CREATE TABLE shop.t (n INT)")
            .expect("a table");
        write(&primary, 1);
        let mut replica = MariaDb::replica_of(&primary).expect("a replica");
        replica.catch_up(&primary).expect("it follows");
        assert_eq!(seen(&replica), "1");

        replica.stop_applying().expect("it stops");
        write(&primary, 2);
        assert_eq!(seen(&replica), "1");
        replica.start_applying().expect("it starts");
        replica.catch_up(&primary).expect("it follows");

        replica.restart().expect("the replica again");
        primary.restart().expect("the primary again");
        write(&primary, 3);
        replica.catch_up(&primary).expect("it follows");
        assert_eq!(seen(&replica), "3");
    }

    #[test]
    fn what_is_refused_says_why() {
        let server = MariaDb::start().expect("a server");
        let error = server
            .execute("SELECT * FROM nowhere.t")
            .expect_err("no table");
        assert!(error.to_string().contains("nowhere"), "{error}");
    }
}
