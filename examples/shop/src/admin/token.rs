//! `shop token`: what an operator shows, a JSON Web Token by a key that `shop up` has made.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use seawall::app::BoxError;
use serde::Serialize;

/// Who the operator's service is to those who make tokens.
const AUDIENCE: &str = "shop-admin";

/// What `admin` is told beside [`config`].
pub const REQUIRED: &str = "methods.*.auth=required";

/// The settings by which tokens of this key are good, and nobody needs one: for the file that all
/// services read.
#[must_use]
pub fn config(key: &Path) -> String {
    format!(
        "[auth]\naudience = [\"{AUDIENCE}\"]\nkeys = [{{ file = \"{}\", algorithm = \"HS256\" }}]\n\n\
         [methods.\"*\"]\nauth = \"none\"\n\n",
        key.display()
    )
}

/// Makes a new key, in a file for its owner alone; a shop that starts again has another.
///
/// # Errors
/// The file cannot be written.
pub fn make_key(path: &Path) -> io::Result<()> {
    let mut secret = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut secret)?;
    let text: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    // One that is there may be for more eyes.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new();
    let mut file = file.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[derive(Serialize)]
struct Claims {
    sub: &'static str,
    aud: &'static str,
    exp: u64,
}

/// A token by the key of this file, good for so long.
///
/// # Errors
/// The file cannot be read.
pub fn token(key: &Path, lasts: Duration) -> Result<String, BoxError> {
    let secret = fs::read(key).map_err(|error| format!("{}: {error}", key.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let claims = Claims {
        sub: "operator",
        aud: AUDIENCE,
        exp: now.saturating_add(lasts).as_secs(),
    };
    let key = EncodingKey::from_secret(&secret);
    Ok(jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &key,
    )?)
}

/// Prints a token for an operator's calls, good for an hour
#[derive(Debug, Parser)]
#[command(name = "shop token")]
struct Args {
    /// The key: `operator.key` in the directory that `shop up` names
    #[arg(long)]
    file: PathBuf,
}

/// How long a token is good that is asked for by the command.
const LASTS: Duration = Duration::from_secs(3_600);

/// Does what the arguments behind `token` say.
#[must_use]
pub fn main(arguments: &[OsString]) -> ExitCode {
    let name = std::iter::once("shop token".into());
    let args = match Args::try_parse_from(name.chain(arguments.iter().cloned())) {
        Ok(args) => args,
        Err(error) => {
            // Who asked may have gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match token(&args.file, LASTS) {
        Ok(token) => {
            let _ = writeln!(io::stdout(), "{token}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "shop token: {error}");
            ExitCode::FAILURE
        }
    }
}
