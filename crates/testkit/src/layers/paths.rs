//! The paths that a source names, resolved as far as names alone allow.

use super::tokens::{Token, tokens};

/// A path in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) path: Path,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// From the root of the crate; empty is the root itself.
    Inside(Vec<String>),
    /// From the name of a crate, or of something near: names alone do not tell.
    Named(Vec<String>),
    /// Source from somewhere else: `include!`, and `#[path]` to what is no plain text.
    Elsewhere(&'static str),
    /// A module in this file, from the directory of the source: `#[path]`.
    File(String),
}

/// The paths of a source that is the module `module`.
pub(super) fn paths(source: &str, module: &[String]) -> Vec<Named> {
    let tokens = tokens(source);
    let mut walk = Walk {
        tokens: &tokens,
        at: 0,
        module: module.to_vec(),
        inner: Vec::new(),
        depth: 0,
        found: Vec::new(),
    };
    while walk.at < tokens.len() {
        walk.step();
    }
    walk.found
}

struct Walk<'a> {
    tokens: &'a [(usize, Token)],
    at: usize,
    module: Vec<String>,
    /// At which depth of braces the modules in this file end.
    inner: Vec<usize>,
    depth: usize,
    found: Vec<Named>,
}

impl Walk<'_> {
    fn look(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(_, token)| token)
    }

    fn name(&self, ahead: usize) -> Option<&str> {
        self.look(ahead).and_then(Token::name)
    }

    fn sign(&self, ahead: usize, sign: char) -> bool {
        self.look(ahead) == Some(&Token::Sign(sign))
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |(line, _)| *line)
    }

    fn behind(&self) -> Option<&Token> {
        let before = self.at.checked_sub(1)?;
        self.tokens.get(before).map(|(_, token)| token)
    }

    fn step(&mut self) {
        match self.look(0) {
            Some(Token::Sign('{')) => self.depth += 1,
            Some(Token::Sign('}')) => {
                self.depth = self.depth.saturating_sub(1);
                if self.inner.last() == Some(&self.depth) {
                    self.inner.pop();
                    self.module.pop();
                }
            }
            Some(Token::Name(_) | Token::Separator) => return self.word(),
            _ => {}
        }
        self.at += 1;
    }

    fn word(&mut self) {
        match self.name(0) {
            Some("mod") if self.name(1).is_some() && self.sign(2, '{') => {
                let name = self.name(1).unwrap_or_default().to_owned();
                self.module.push(name);
                self.inner.push(self.depth);
                self.at += 2;
            }
            Some("use") if !self.sign(1, '<') => {
                self.at += 1;
                self.tree(&[]);
            }
            Some("extern") if self.name(1) == Some("crate") => {
                self.at += 2;
                if self.name(0) == Some("self") {
                    // Another name of the root.
                    let (line, path) = (self.line(), Path::Inside(Vec::new()));
                    self.found.push(Named { line, path });
                }
                self.tree(&[]);
            }
            Some("include") if self.sign(1, '!') => self.elsewhere("include!"),
            Some("path") if self.sign(1, '=') && self.behind() == Some(&Token::Sign('[')) => {
                match self.look(2) {
                    // In a module of its own the file is looked for elsewhere.
                    Some(Token::Text(path)) if self.inner.is_empty() => {
                        let (line, path) = (self.line(), Path::File(path.clone()));
                        self.found.push(Named { line, path });
                        self.at += 1;
                    }
                    _ => self.elsewhere("#[path]"),
                }
            }
            _ => self.path(),
        }
    }

    fn elsewhere(&mut self, what: &'static str) {
        let line = self.line();
        let path = Path::Elsewhere(what);
        self.found.push(Named { line, path });
        self.at += 1;
    }

    /// A path in an expression, a type, a pattern or a macro.
    fn path(&mut self) {
        let starts = match self.behind() {
            Some(Token::Sign('.')) => false,
            // A macro's fragment; `$crate` is the root all the same.
            Some(Token::Sign('$')) => self.name(0) == Some("crate"),
            _ => true,
        };
        let line = self.line();
        let leading = self.look(0) == Some(&Token::Separator);
        let mut segments = Vec::new();
        self.at += usize::from(leading);
        while let Some(name) = self.name(0) {
            segments.push(name.to_owned());
            self.at += 1;
            if self.look(0) != Some(&Token::Separator) {
                break;
            }
            self.at += 1;
        }
        // A name alone leads nowhere.
        let whole = self.tokens.get(self.at.saturating_sub(1));
        let leads = segments.len() > 1 || matches!(whole, Some((_, Token::Separator)));
        if starts && leads && !segments.is_empty() {
            self.push(line, segments);
        }
    }

    /// A tree of `use`, below `prefix`.
    fn tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        let line = self.line();
        loop {
            match self.look(0) {
                Some(Token::Name(name)) if name == "as" => {
                    self.at += 2;
                }
                Some(Token::Name(name)) => {
                    // `a::{self}` is `a`.
                    if path.is_empty() || name != "self" {
                        path.push(name.clone());
                    }
                    self.at += 1;
                }
                Some(Token::Separator | Token::Sign('*' | '$')) => self.at += 1,
                Some(Token::Sign('{')) => {
                    self.at += 1;
                    while !self.sign(0, '}') && self.look(0).is_some() {
                        let before = self.at;
                        self.tree(&path);
                        // What is no tree is stepped over.
                        let stuck = self.at == before;
                        self.at += usize::from(stuck || self.sign(0, ','));
                    }
                    self.at += 1;
                    return;
                }
                _ => break,
            }
        }
        if path.is_empty() {
            // Not a tree at all; go on behind it.
            self.at += 1;
        } else {
            self.push(line, path);
        }
    }

    fn push(&mut self, line: usize, segments: Vec<String>) {
        let path = match segments.first().map(String::as_str) {
            Some("crate" | "self" | "super") => Path::Inside(self.resolved(&segments)),
            _ => Path::Named(segments),
        };
        self.found.push(Named { line, path });
    }

    fn resolved(&self, segments: &[String]) -> Vec<String> {
        let mut at = self.module.clone();
        for segment in segments {
            match segment.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => {
                    at.pop();
                }
                name => at.push(name.to_owned()),
            }
        }
        at
    }
}
