//! The names in a Rust source, without what only looks like one.
//!
//! A whole parser would see less: to it the inside of a macro is tokens too, and macros are where a
//! forbidden name hides best.

/// What paths are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name or keyword; raw names without their mark.
    Name(String),
    /// `::`
    Separator,
    /// Any other sign.
    Sign(char),
    /// The text of `path = "…"`; no other text is kept.
    Text(String),
}

impl Token {
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }
}

/// Tokens with their lines, counted from one.
pub(super) fn tokens(source: &str) -> Vec<(usize, Token)> {
    Lexer {
        rest: source,
        line: 1,
        found: Vec::new(),
    }
    .run()
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<(usize, Token)>,
}

impl Lexer<'_> {
    fn run(mut self) -> Vec<(usize, Token)> {
        while let Some(sign) = self.rest.chars().next() {
            let token = match sign {
                '"' => self.string(),
                '\'' => self.quote(),
                _ if self.rest.starts_with("//") => {
                    self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
                    None
                }
                _ if self.rest.starts_with("/*") => self.comment(),
                _ if self.rest.starts_with("::") => {
                    self.skip(2);
                    Some(Token::Separator)
                }
                _ if sign.is_alphabetic() || sign == '_' => self.word(),
                _ if sign.is_ascii_digit() => {
                    self.skip(self.word_length());
                    None
                }
                _ => {
                    self.skip(sign.len_utf8());
                    (!sign.is_whitespace()).then_some(Token::Sign(sign))
                }
            };
            if let Some(token) = token {
                self.found.push((self.line, token));
            }
        }
        self.found
    }

    fn skip(&mut self, bytes: usize) {
        let (gone, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.line += gone.matches('\n').count();
        self.rest = rest;
    }

    /// Bytes up to the first that no word has.
    fn word_length(&self) -> usize {
        let inside = |sign: char| sign.is_alphanumeric() || sign == '_';
        self.rest
            .find(|sign| !inside(sign))
            .unwrap_or(self.rest.len())
    }

    fn word(&mut self) -> Option<Token> {
        let word = self.rest[..self.word_length()].to_owned();
        let after = &self.rest[word.len()..];
        let hashes = after.len() - after.trim_start_matches('#').len();
        let quoted = after[hashes..].starts_with('"');
        match word.as_str() {
            "r" | "br" | "cr" if quoted => {
                self.skip(word.len() + hashes + 1);
                let end = format!("\"{}", "#".repeat(hashes));
                self.skip(
                    self.rest
                        .find(&end)
                        .map_or(self.rest.len(), |at| at + end.len()),
                );
                None
            }
            "r" if hashes == 1 => {
                self.skip(2);
                let name = self.rest[..self.word_length()].to_owned();
                self.skip(name.len());
                Some(Token::Name(name))
            }
            _ => {
                self.skip(word.len());
                Some(Token::Name(word))
            }
        }
    }

    fn string(&mut self) -> Option<Token> {
        let before = self.rest;
        self.until('"');
        let text = &before[1..before.len() - self.rest.len()];
        let [.., (_, Token::Name(name)), (_, Token::Sign('='))] = self.found.as_slice() else {
            return None;
        };
        let text = text.strip_suffix('"').unwrap_or(text).to_owned();
        (name == "path").then_some(Token::Text(text))
    }

    /// A character, or a lifetime.
    fn quote(&mut self) -> Option<Token> {
        let mut ahead = self.rest.chars().skip(1);
        let (first, second) = (ahead.next(), ahead.next());
        if first == Some('\\') || second == Some('\'') {
            self.until('\'');
        } else {
            self.skip(1);
            self.skip(self.word_length());
        }
        None
    }

    /// Skips to the closing sign, which is not one behind a backslash.
    fn until(&mut self, close: char) {
        let mut escaped = true;
        let end = self.rest.char_indices().find(|&(_, sign)| {
            let ends = sign == close && !escaped;
            escaped = !escaped && sign == '\\';
            ends
        });
        self.skip(end.map_or(self.rest.len(), |(at, _)| at + 1));
    }

    fn comment(&mut self) -> Option<Token> {
        let mut depth = 0_usize;
        loop {
            if self.rest.starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest.starts_with("*/") {
                depth -= 1;
                self.skip(2);
            } else {
                self.skip(self.rest.chars().next().map_or(0, char::len_utf8));
            }
            if depth == 0 || self.rest.is_empty() {
                return None;
            }
        }
    }
}
