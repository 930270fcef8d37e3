//! Watching for heads that give both a length and a transfer encoding.
//!
//! hyper lets the encoding win and drops the length before anyone can see it. That is allowed, but
//! such a request is either a mistake or an attempt to smuggle another one past somebody who lets
//! the length win, so it is refused. The bytes are looked at on their way in, line by line and only
//! at the beginnings of lines.
//!
//! A request may be sent ahead, behind another one's body, so bodies are followed to their ends:
//! over a length in one step, over chunks by their size lines. That is cheaper than it sounds, and
//! the alternatives are worse: to refuse every encoded request that was sent ahead punishes honest
//! clients, and guesses where a head begins can be led astray by a body that looks like one. The
//! two readings of the bytes, hyper's and this one, cannot part unnoticed: where hyper would take
//! offence, this one is [lost](State::Lost) for good, and a head that it has not seen is not
//! vouched for.

/// What has been seen of the requests on a connection.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    /// The beginning of the present line, where it came in pieces.
    line: [u8; KEPT],
    /// Length of the present line, as far as it came before, cut at one above `KEPT`.
    length: usize,
    /// It ended in a carriage return, as far as it came.
    returned: bool,
    state: State,
    encoded: bool,
    content_length: Option<u64>,
    /// Heads that have ended.
    heads: u32,
    /// The first of them that gave both, counted from 0. Its connection does not survive it.
    conflicting: Option<u32>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// A head. Empty lines before it are skipped by every parser.
    #[default]
    Before,
    /// The rest of a head.
    Head,
    /// So many bytes of a body.
    Body(u64),
    /// A chunk's size line.
    Size,
    /// So many bytes of a chunk and of the line end after it.
    Chunk(u64),
    /// Trailers, up to an empty line.
    Trailers,
    /// What came makes no sense, so nothing is known of what follows.
    Lost,
}

const TRANSFER_ENCODING: &[u8] = b"transfer-encoding:";
const CONTENT_LENGTH: &[u8] = b"content-length:";

/// How much of a line is kept: enough for a length of fifteen digits.
const KEPT: usize = 32;

impl Framing {
    /// Looks at what was read.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.state {
                State::Lost => return,
                State::Body(left) => self.skip(&mut bytes, left, State::Body, State::Before),
                State::Chunk(left) => self.skip(&mut bytes, left, State::Chunk, State::Size),
                State::Before | State::Head | State::Size | State::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.keep(bytes);
                        return;
                    };
                    let (part, rest) = (&bytes[..end], &bytes[end + 1..]);
                    bytes = rest;
                    if self.length == 0 {
                        self.state = self.line_ended(part);
                    } else {
                        self.keep(part);
                        let (line, length) = (self.line, self.length.min(KEPT));
                        self.state = self.line_ended(&line[..length]);
                        self.length = 0;
                    }
                }
            }
        }
    }

    /// Heads that have ended.
    pub(crate) fn heads(&self) -> u32 {
        self.heads
    }

    /// The first head that gave both a length and an encoding, counted from 0.
    pub(crate) fn conflicting(&self) -> Option<u32> {
        self.conflicting
    }

    fn skip(&mut self, bytes: &mut &[u8], left: u64, on: fn(u64) -> State, then: State) {
        let skipped = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        *bytes = &bytes[skipped..];
        let left = left - skipped as u64;
        self.state = if left == 0 { then } else { on(left) };
    }

    fn keep(&mut self, part: &[u8]) {
        let free = KEPT.saturating_sub(self.length);
        let kept = &part[..part.len().min(free)];
        self.line[self.length.min(KEPT)..][..kept.len()].copy_from_slice(kept);
        self.length = (self.length + part.len()).min(KEPT + 1);
        if let Some(last) = part.last() {
            self.returned = *last == b'\r';
        }
    }

    /// Takes a line without its `\n`, or its beginning, if it came in pieces and is long.
    fn line_ended(&mut self, line: &[u8]) -> State {
        let returned = if self.length == 0 {
            line.ends_with(b"\r")
        } else {
            self.returned
        };
        let empty = line.is_empty() || line == b"\r";
        match self.state {
            State::Before if empty => State::Before,
            State::Head if empty => self.head_ended(),
            State::Before | State::Head => self.field(line),
            // hyper knows no other line ends than these from here on.
            _ if !returned => State::Lost,
            State::Size => match chunk_size(line) {
                Some(0) => State::Trailers,
                Some(size) => State::Chunk(size.saturating_add(2)),
                None => State::Lost,
            },
            _ if empty => State::Before,
            same => same,
        }
    }

    /// A line of a head: the request's own, or a header.
    fn field(&mut self, line: &[u8]) -> State {
        match line.first() {
            Some(b't' | b'T') if begins(line, TRANSFER_ENCODING) => self.encoded = true,
            Some(b'c' | b'C') if begins(line, CONTENT_LENGTH) => {
                let value = line[CONTENT_LENGTH.len()..].trim_ascii();
                match number(value, 10) {
                    Some((length, [])) if self.length <= KEPT => {
                        self.content_length = Some(length);
                    }
                    _ => return State::Lost,
                }
            }
            _ => {}
        }
        State::Head
    }

    fn head_ended(&mut self) -> State {
        let encoded = std::mem::take(&mut self.encoded);
        let length = self.content_length.take();
        if encoded && length.is_some() && self.conflicting.is_none() {
            self.conflicting = Some(self.heads);
        }
        self.heads = self.heads.wrapping_add(1);
        match length {
            _ if encoded => State::Size,
            None | Some(0) => State::Before,
            Some(length) => State::Body(length),
        }
    }
}

fn begins(line: &[u8], name: &[u8]) -> bool {
    line.len() >= name.len() && line[..name.len()].eq_ignore_ascii_case(name)
}

/// The number that `line` begins with, and what follows it.
fn number(line: &[u8], radix: u32) -> Option<(u64, &[u8])> {
    let digits = line
        .iter()
        .take_while(|byte| char::from(**byte).is_digit(radix))
        .count();
    let (digits, rest) = line.split_at(digits);
    let number = std::str::from_utf8(digits).ok()?;
    Some((u64::from_str_radix(number, radix).ok()?, rest))
}

/// A chunk's size; whatever extends it is not looked at.
fn chunk_size(line: &[u8]) -> Option<u64> {
    match number(line, 16)? {
        (size, [b'\r' | b';' | b' ' | b'\t', ..]) => Some(size),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> (u32, Option<u32>) {
        let mut framing = Framing::default();
        for part in parts {
            framing.read(part);
        }
        (framing.heads(), framing.conflicting())
    }

    const BOTH: &[u8] =
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nx: 1\r\nTRANSFER-encoding: chunked\r\n\r\n";

    #[test]
    fn one_head() {
        for (bytes, seen) in [
            (BOTH, (1, Some(0))),
            (b"GET / HTTP/1.1\n\n", (1, None)),
            (b"\r\n\nGET / HTTP/1.1\r\n\r\n", (1, None)),
            (
                b"GET / HTTP/1.1\r\nx: transfer-encoding: content-length: 5\r\n\r\n",
                (1, None),
            ),
            (b"GET / HTTP/1.1\r\nhost: a\r\n", (0, None)),
        ] {
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(look([bytes]), seen, "{text:?}");
            assert_eq!(look(bytes.chunks(1)), seen, "{text:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_not_followed() {
        const LENGTH: &str = "POST / HTTP/1.1\r\ncontent-length:";
        const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        for (bytes, heads) in [
            (format!("{LENGTH} -1\r\n\r\n"), 0),
            (format!("{LENGTH} 1, 1\r\n\r\n"), 0),
            (format!("{LENGTH} 99999999999999999999\r\n\r\n"), 0),
            (format!("{CHUNKED}\r\n"), 1),
            (format!("{CHUNKED}x\r\n"), 1),
            (format!("{CHUNKED}1x\r\n"), 1),
            (format!("{CHUNKED}1\nx\r\n0\r\n\r\n"), 1),
            (format!("{CHUNKED}1;\n\r\nx\r\n0\r\n\r\n"), 1),
            (format!("{CHUNKED}10000000000000000\r\n"), 1),
            (format!("{CHUNKED}0\r\n\n"), 1),
            (format!("{CHUNKED}0\r\na: b\n\r\n"), 1),
        ] {
            let whole = [bytes.as_bytes(), BOTH].concat();
            assert_eq!(look([&*whole]), (heads, None), "{bytes:?}");
            assert_eq!(look(whole.chunks(1)), (heads, None), "{bytes:?}");
        }
        // Of a line in pieces, no more is kept than a length needs.
        let padded = format!("{LENGTH}{}1\r\n\r\nx", " ".repeat(KEPT));
        let whole = [padded.as_bytes(), BOTH].concat();
        assert_eq!(look([&*whole]), (2, Some(1)));
        assert_eq!(look(whole.chunks(1)), (0, None));
    }

    /// A whole request without a conflict.
    fn request() -> impl Strategy<Value = Vec<u8>> {
        let body = proptest::collection::vec(
            prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), any::<u8>()],
            0..40,
        );
        let head = |framing: String| format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n");
        prop_oneof![
            Just(head(String::new()).into_bytes()),
            body.clone().prop_map(move |body| {
                let head = head(format!("Content-Length: {}\r\n", body.len()));
                [head.into_bytes(), body].concat()
            }),
            (proptest::collection::vec(body, 0..4), any::<bool>()).prop_map(
                move |(chunks, extended)| {
                    let mut all = head("Transfer-Encoding: chunked\r\n".into()).into_bytes();
                    for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                        let more = if extended { " ;a=\"b\"" } else { "" };
                        all.extend(format!("{:x}{more}\r\n", chunk.len()).bytes());
                        all.extend(chunk);
                        all.extend(b"\r\n");
                    }
                    let trailers = if extended { "a: b\r\nc: d\r\n" } else { "" };
                    all.extend(format!("0\r\n{trailers}\r\n").bytes());
                    all
                }
            ),
        ]
    }

    const HEADS: &[&str] = &[
        "content-length: 3\r\ntransfer-encoding:chunked\n\r\n",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n",
        "POST / HTTP/1.1\r\n\r\n",
    ];
    const BETWEEN: &[&str] = &[
        "\r\n",
        "\n",
        "\r",
        "abc",
        "3\r\n",
        "3;x\r\n",
        "3 \n",
        "0\r\n",
        "0\r\n\r\n",
        "a: b\r\n",
        "a: b\n",
    ];

    /// What hyper answers, and so whether it takes a request to be the last on its connection.
    fn served(bytes: &[u8]) -> Vec<bool> {
        use http_body_util::{BodyExt, Empty};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 16);
            client.write_all(bytes).await.unwrap();
            client.shutdown().await.unwrap();
            let service = |request: http::Request<hyper::body::Incoming>| async {
                request.into_body().collect().await?;
                Ok::<_, hyper::Error>(http::Response::new(Empty::<&[u8]>::new()))
            };
            let _ = hyper::server::conn::http1::Builder::new()
                .half_close(true)
                .serve_connection(
                    hyper_util::rt::TokioIo::new(server),
                    hyper::service::service_fn(service),
                )
                .await;
            let mut answers = String::new();
            client.read_to_string(&mut answers).await.unwrap();
            let answers = answers.split("HTTP/1.1 ").filter(|a| a.starts_with("200"));
            answers.map(|a| a.contains("connection: close")).collect()
        })
    }

    proptest! {
        #[test]
        fn hyper_reads_the_same(
            heads in proptest::collection::vec(proptest::sample::select(HEADS), 1..3),
            between in proptest::collection::vec(proptest::sample::select(BETWEEN), 0..8),
        ) {
            let between = between.concat();
            let parts = heads.iter().flat_map(|head| [*head, &between]);
            let bytes: String = parts.chain(["POST / HTTP/1.1\r\n", HEADS[0], "0\r\n\r\n"]).collect();
            let (heads, conflicting) = look([bytes.as_bytes()]);
            for (number, last) in (0..).zip(served(bytes.as_bytes())) {
                let vouched = number < heads && conflicting != Some(number);
                prop_assert!(!(last && vouched), "{bytes:?} {number}");
            }
        }

        #[test]
        fn a_conflict_is_found_behind_any_requests_however_they_are_cut(
            before in proptest::collection::vec(request(), 0..5),
            cut in 1_usize..50,
        ) {
            let count = before.len() as u32;
            let whole = [before.concat(), BOTH.to_vec()].concat();
            prop_assert_eq!(look([&*whole]), (count + 1, Some(count)));
            prop_assert_eq!(look(whole.chunks(cut)), (count + 1, Some(count)));
        }

        #[test]
        fn no_bytes_are_too_much(bytes: Vec<u8>, cut in 1_usize..50) {
            let whole = [BOTH, &bytes].concat();
            prop_assert_eq!(look(whole.chunks(cut)).1, Some(0));
        }
    }
}
