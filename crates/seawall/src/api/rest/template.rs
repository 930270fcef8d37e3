//! A path template of `google.api.http`.
//!
//! ```text
//! template = "/" segments [ ":" literal ]
//! segments = segment { "/" segment }
//! segment  = "*" | "**" | literal | "{" field [ "=" segments ] "}"
//! ```

/// The most segments and variables of a template: they are kept on the stack while a path is
/// matched.
pub(super) const MOST_SEGMENTS: usize = 24;
pub(super) const MOST_VARIABLES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    Literal(&'a str),
    /// One segment, which is not empty.
    One,
    /// All that is left, be it nothing.
    Rest,
}

/// Which segments a variable takes: from the first, up to but without the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: usize,
    pub(super) to: usize,
    /// More than one may be in it, so that a slash in it is one of the path and an escaped one not.
    pub(super) many: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template<'a> {
    pub(super) segments: Vec<Segment<'a>>,
    pub(super) variables: Vec<Span>,
    /// What stands after the colon; empty where there is none.
    pub(super) custom: &'a str,
}

impl<'a> Template<'a> {
    /// `None` for what is no template.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text.strip_prefix('/')?;
        let mut template = Self {
            segments: Vec::new(),
            variables: Vec::new(),
            custom: "",
        };
        loop {
            rest = template.segment(rest)?;
            match rest.as_bytes().first() {
                None => break,
                Some(b'/') => rest = &rest[1..],
                Some(b':') => {
                    template.custom = literal(&rest[1..])?;
                    break;
                }
                Some(_) => return None,
            }
        }
        template.is_sound().then_some(template)
    }

    fn segment(&mut self, text: &'a str) -> Option<&'a str> {
        let Some(variable) = text.strip_prefix('{') else {
            let end = text.find(['/', ':']).unwrap_or(text.len());
            self.plain(&text[..end])?;
            return Some(&text[end..]);
        };
        let (inside, after) = variable.split_once('}')?;
        let (_, pattern) = inside.split_once('=').unwrap_or((inside, "*"));
        let from = self.segments.len();
        for part in pattern.split('/') {
            self.plain(part)?;
        }
        let to = self.segments.len();
        let many = to - from > 1 || self.segments[from] == Segment::Rest;
        self.variables.push(Span { from, to, many });
        Some(after)
    }

    fn plain(&mut self, text: &'a str) -> Option<()> {
        self.segments.push(match text {
            "*" => Segment::One,
            "**" => Segment::Rest,
            _ => Segment::Literal(literal(text)?),
        });
        Some(())
    }

    fn is_sound(&self) -> bool {
        let rest = self.segments.iter().position(|s| *s == Segment::Rest);
        self.segments.len() <= MOST_SEGMENTS
            && self.variables.len() <= MOST_VARIABLES
            && rest.is_none_or(|at| at + 1 == self.segments.len())
    }
}

fn literal(text: &str) -> Option<&str> {
    let right = !text.is_empty() && !text.contains(['/', '{', '}', '*', ':', '?', '#']);
    right.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar() {
        let template = Template::parse("/v1/{book.name=shelves/*}/pages/{page}:turn").unwrap();
        let span = |from, to, many| Span { from, to, many };
        assert_eq!(template.variables, [span(1, 3, true), span(4, 5, false)]);
        assert_eq!(template.custom, "turn");
        assert_eq!(template.segments[1], Segment::Literal("shelves"));
        assert_eq!(
            Template::parse("/v1/{name=**}").unwrap().variables,
            [span(1, 2, true)]
        );
        for wrong in [
            "",
            "v1",
            "/",
            "/v1//a",
            "/v1/{a",
            "/v1/a:",
            "/v1/{a=**}/b",
            "/a*",
            "/{a=}",
            "/a:b/c",
        ] {
            assert_eq!(Template::parse(wrong), None, "{wrong}");
        }
    }
}
