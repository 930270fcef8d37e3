//! Reads HTTP/1.1 answers as far as a load generator must: status, length, keep-alive.

use std::io;

/// Heads larger than this are an error.
const HEAD_LIMIT: usize = 64 * 1024;

/// What the answer said once it is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) status: u16,
    /// The connection may carry another request.
    pub(super) keep_alive: bool,
    /// The reason in `seawall-reject`, or "".
    pub(super) reason: String,
}

/// Parses one answer after another from a connection's bytes.
#[derive(Debug, Default)]
pub(super) struct Parser {
    head: Vec<u8>,
    body: Body,
    complete: Option<Complete>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Body {
    /// The head is not complete.
    #[default]
    Head,
    Length(u64),
    Size(u64),
    Chunk(u64),
    ChunkEnd,
    /// Bytes of the current trailer line.
    Trailer(u32),
    UntilClose,
    End,
}

impl Parser {
    /// Whether anything of the current answer has come.
    pub(super) fn has_begun(&self) -> bool {
        !self.head.is_empty() || self.complete.is_some()
    }

    /// Takes the next bytes; `Some` when they complete the answer.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> io::Result<Option<Complete>> {
        while self.body == Body::Head {
            if bytes.is_empty() {
                return Ok(None);
            }
            bytes = self.feed_head(bytes)?;
        }
        while self.body != Body::End && !bytes.is_empty() {
            bytes = self.feed_body(bytes)?;
        }
        if self.body != Body::End {
            return Ok(None);
        }
        if !bytes.is_empty() {
            return Err(invalid("bytes after the answer"));
        }
        self.body = Body::Head;
        Ok(self.complete.take())
    }

    /// The peer closed: an answer without a length is complete now.
    pub(super) fn close(&mut self) -> Option<Complete> {
        (self.body == Body::UntilClose)
            .then(|| self.complete.take())
            .flatten()
    }

    fn feed_head<'b>(&mut self, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let length = match answer.parse(&self.head) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if self.head.len() < HEAD_LIMIT => return Ok(&[]),
            Ok(httparse::Status::Partial) => return Err(invalid("head too large")),
            Err(error) => return Err(invalid(&error.to_string())),
        };
        let status = answer.code.unwrap_or(0);
        if !(100..200).contains(&status) {
            let (complete, body) = describe(status, answer.version == Some(1), answer.headers)?;
            self.complete = Some(complete);
            self.body = body;
        }
        self.head.clear();
        Ok(bytes.get(length - before..).unwrap_or_default())
    }

    fn feed_body<'b>(&mut self, bytes: &'b [u8]) -> io::Result<&'b [u8]> {
        let (first, rest) = bytes.split_first().map_or((0, bytes), |(f, r)| (*f, r));
        match self.body {
            Body::Length(left) => {
                let (left, rest) = skip(left, bytes);
                self.body = if left == 0 {
                    Body::End
                } else {
                    Body::Length(left)
                };
                Ok(rest)
            }
            Body::Chunk(left) => {
                let (left, rest) = skip(left, bytes);
                self.body = if left == 0 {
                    Body::ChunkEnd
                } else {
                    Body::Chunk(left)
                };
                Ok(rest)
            }
            Body::Size(size) => {
                self.body = match (first, char::from(first).to_digit(16)) {
                    (_, Some(digit)) if size < 1 << 48 => Body::Size(size * 16 + u64::from(digit)),
                    (b'\n', _) if size == 0 => Body::Trailer(0),
                    (b'\n', _) => Body::Chunk(size),
                    (b'\r', _) => Body::Size(size),
                    _ => return Err(invalid("chunk size")),
                };
                Ok(rest)
            }
            Body::ChunkEnd => {
                if first == b'\n' {
                    self.body = Body::Size(0);
                }
                Ok(rest)
            }
            Body::Trailer(line) => {
                self.body = match first {
                    b'\n' if line == 0 => Body::End,
                    b'\n' => Body::Trailer(0),
                    b'\r' => Body::Trailer(line),
                    _ => Body::Trailer(line.saturating_add(1)),
                };
                Ok(rest)
            }
            Body::UntilClose => Ok(&[]),
            Body::Head | Body::End => Ok(bytes),
        }
    }
}

fn describe(
    status: u16,
    modern: bool,
    headers: &[httparse::Header<'_>],
) -> io::Result<(Complete, Body)> {
    let mut complete = Complete {
        status,
        keep_alive: modern,
        reason: String::new(),
    };
    let mut body = Body::UntilClose;
    for header in headers {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") && body == Body::UntilClose {
            let length = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            body = Body::Length(length.ok_or_else(|| invalid("content-length"))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Size(0);
        } else if header.name.eq_ignore_ascii_case("connection") {
            complete.keep_alive = !value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("seawall-reject") {
            complete.reason = reject_reason(value);
        }
    }
    if matches!(status, 204 | 304) || body == Body::Length(0) {
        body = Body::End;
    }
    complete.keep_alive &= body != Body::UntilClose;
    Ok((complete, body))
}

/// The reason in `reason=queue-full; scope=host; …`.
pub(super) fn reject_reason(value: &[u8]) -> String {
    let value = String::from_utf8_lossy(value);
    let parts = value.split(';').map(str::trim);
    let mut reasons = parts.filter_map(|part| part.strip_prefix("reason="));
    reasons.next().unwrap_or_default().to_owned()
}

fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    (left - taken as u64, &bytes[taken..])
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("bad answer: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the whole, then byte by byte; both must agree.
    fn parse(text: &str) -> io::Result<Option<Complete>> {
        let whole = Parser::default().feed(text.as_bytes());
        let mut parser = Parser::default();
        let mut last = Ok(None);
        for byte in text.as_bytes().chunks(1) {
            last = parser.feed(byte);
            if last.is_err() {
                break;
            }
        }
        assert_eq!(whole.as_ref().ok(), last.as_ref().ok());
        whole
    }

    #[test]
    fn a_length_ends_the_answer() {
        let found = parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n");
        let found = found.expect("valid").expect("complete");
        assert_eq!((found.status, found.keep_alive), (200, true));
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok").ok(),
            Some(None)
        );
    }

    #[test]
    fn chunks_end_with_an_empty_one() {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let found = parse(&format!(
            "{head}3\r\nok\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"
        ));
        assert!(found.expect("valid").is_some());
        let trailers = parse(&format!("{head}0\r\na: b\r\n\r\n"));
        assert!(trailers.expect("valid").is_some());
        assert!(parse(&format!("{head}x\r\n")).is_err());
    }

    #[test]
    fn a_rejection_tells_its_reason() {
        let found = parse(
            "HTTP/1.1 503 Service Unavailable\r\nseawall-reject: reason=queue-full; scope=host\r\n\
             connection: close\r\ncontent-length: 0\r\n\r\n",
        );
        let found = found.expect("valid").expect("complete");
        assert_eq!(found.reason, "queue-full");
        assert!(!found.keep_alive);
    }

    #[test]
    fn informational_answers_are_passed_over() {
        let found =
            parse("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").expect("valid");
        assert_eq!(found.map(|complete| complete.status), Some(204));
    }

    #[test]
    fn without_a_length_the_close_ends_it() {
        let mut parser = Parser::default();
        let head = b"HTTP/1.1 200 OK\r\n\r\nhello";
        assert_eq!(parser.feed(head).ok(), Some(None));
        assert!(parser.close().is_some_and(|complete| !complete.keep_alive));
    }
}
