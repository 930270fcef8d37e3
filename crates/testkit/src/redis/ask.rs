//! Enough of Redis's protocol to set servers up.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Error;

/// Runs one command on a connection of its own. Arrays are told an element a line, nothing as an
/// empty text.
pub(super) fn ask(server: SocketAddr, command: &[&str]) -> Result<String, Error> {
    let said = exchange(server, command).map_err(Error::io(server.to_string()))?;
    said.map_err(|message| Error::Refused {
        statement: command.join(" "),
        message,
    })
}

fn exchange(server: SocketAddr, command: &[&str]) -> io::Result<Result<String, String>> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut bytes = format!("*{}\r\n", command.len());
    for part in command {
        bytes += &format!("${}\r\n{part}\r\n", part.len());
    }
    stream.write_all(bytes.as_bytes())?;
    read(&mut BufReader::new(stream))
}

fn read(from: &mut impl BufRead) -> io::Result<Result<String, String>> {
    let line = line(from)?;
    let (kind, rest) = line.split_at_checked(1).unwrap_or_default();
    let count = || rest.parse::<i64>().unwrap_or_default();
    Ok(match kind {
        "-" => Err(rest.to_owned()),
        "$" => Ok(bulk(from, count())?),
        "*" => {
            let mut lines = Vec::new();
            for _ in 0..count() {
                lines.push(read(from)?.unwrap_or_else(|error| error));
            }
            Ok(lines.join("\n"))
        }
        _ => Ok(rest.to_owned()),
    })
}

pub(super) fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn bulk(from: &mut impl BufRead, length: i64) -> io::Result<String> {
    let Ok(length) = u64::try_from(length) else {
        return Ok(String::new());
    };
    let mut bytes = Vec::new();
    from.take(length + 2).read_to_end(&mut bytes)?;
    bytes.truncate(bytes.len().saturating_sub(2));
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
