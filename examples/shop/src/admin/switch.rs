//! The section `[degrade]` in the file that every service reads and watches.

use std::io;
use std::path::Path;

use toml::{Table, Value};

use crate::config::Degrade;

/// Why the file was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// It cannot be read or written.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It is no TOML.
    #[error("{file}: {source}")]
    Toml {
        /// Which.
        file: String,
        /// Why.
        source: toml::de::Error,
    },
}

/// What it says.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &Path) -> Result<Degrade, SwitchError> {
    let table = table(file)?;
    let mut degrade = Degrade::default();
    if let Some(Value::Table(section)) = table.get("degrade") {
        let said = section.get("recommendations").and_then(Value::as_bool);
        degrade.recommendations = said.unwrap_or(degrade.recommendations);
    }
    Ok(degrade)
}

/// Has it say this. Whoever reads meanwhile reads the old file or the new one, never half of it.
/// Comments are lost.
///
/// # Errors
/// It cannot be read or written; it is as it was, then.
pub fn write(file: &Path, degrade: Degrade) -> Result<(), SwitchError> {
    let mut table = table(file)?;
    let mut section = Table::new();
    let recommendations = Value::Boolean(degrade.recommendations);
    section.insert("recommendations".to_owned(), recommendations);
    table.insert("degrade".to_owned(), Value::Table(section));
    let new = file.with_extension("toml.new");
    std::fs::write(&new, table.to_string()).map_err(failed(&new))?;
    std::fs::rename(&new, file).map_err(failed(file))
}

fn table(file: &Path) -> Result<Table, SwitchError> {
    let text = std::fs::read_to_string(file).map_err(failed(file))?;
    text.parse().map_err(|source| SwitchError::Toml {
        file: file.display().to_string(),
        source,
    })
}

fn failed(file: &Path) -> impl FnOnce(io::Error) -> SwitchError {
    let file = file.display().to_string();
    |source| SwitchError::File { file, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_section_changes_and_the_others_stay() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("shop.toml");
        std::fs::write(&file, "[http]\naddress = \"127.0.0.1:1\"\n").expect("written");
        assert!(read(&file).expect("read").recommendations);
        let off = Degrade {
            recommendations: false,
        };
        write(&file, off).expect("written");
        assert_eq!(read(&file).expect("read"), off);
        write(&file, Degrade::default()).expect("written");
        assert_eq!(read(&file).expect("read"), Degrade::default());
        let text = std::fs::read_to_string(&file).expect("read");
        assert!(text.contains("127.0.0.1:1"), "{text}");
    }
}
