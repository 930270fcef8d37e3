//! Which template of many a path matches.
//!
//! axum's router knows neither a verb after a colon nor a variable of several segments, and what
//! two routers do not find they do not answer alike. This is a tree of segments: a literal goes
//! before a variable, a variable before the rest, and where that leads nowhere the next is tried.
//! Each node is visited at most once a search, so a search costs at most the templates there are.

use std::fmt;
use std::ops::Range;

use http::Method as Verb;

use super::template::{MOST_SEGMENTS, MOST_VARIABLES, Segment, Span, Template};

/// Values by verb and path template.
///
/// ```
/// use http::Method;
/// use seawall::api::{Found, Paths};
///
/// let mut paths = Paths::new();
/// paths.insert(Method::GET, "/v1/orders/{id}", 1).unwrap();
/// paths.insert(Method::POST, "/v1/orders/{id}:cancel", 2).unwrap();
/// let path = "/v1/orders/7:cancel";
/// let Found::Here(value, variables) = paths.find(&Method::POST, path) else { panic!() };
/// assert_eq!((*value, variables.raw(0, path)), (2, "7"));
/// ```
#[derive(Clone, Debug)]
pub struct Paths<T> {
    nodes: Vec<Node>,
    ends: Vec<End<T>>,
    /// Whether any template has a verb after a colon.
    custom: bool,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// In order, for a binary search: the texts are few, and hashing one costs more.
    literals: Vec<(Box<str>, usize)>,
    one: Option<usize>,
    rest: Option<usize>,
    ends: Vec<usize>,
}

#[derive(Clone, Debug)]
struct End<T> {
    verb: Verb,
    custom: Box<str>,
    template: Box<str>,
    variables: Box<[Span]>,
    value: T,
}

/// A template that cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Clash {
    /// Another matches the same paths.
    #[error("{verb} {template} matches the same paths as {other}: change one of them")]
    Same {
        /// The verb of both.
        verb: Verb,
        /// The one that came later.
        template: String,
        /// The one that was there.
        other: String,
    },
    /// It does not keep to the grammar of `google.api.http`.
    #[error("`{0}` is no path template: see google.api.HttpRule")]
    Malformed(String),
}

/// What a search came to.
#[derive(Debug)]
pub enum Found<'a, T> {
    /// A template matches.
    Here(&'a T, Variables),
    /// Templates match, for these verbs.
    OtherVerb(Vec<&'a Verb>),
    /// None matches.
    Nowhere,
}

/// Where in the path a template's variables stand, in the template's order.
#[derive(Clone, Copy, Debug)]
pub struct Variables {
    places: [(u32, u32, bool); MOST_VARIABLES],
    len: usize,
}

impl Variables {
    const NONE: Self = Self {
        places: [(0, 0, false); MOST_VARIABLES],
        len: 0,
    };

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The text of one in the path that was searched for, escapes and all. Empty past the last.
    #[must_use]
    pub fn raw<'p>(&self, index: usize, path: &'p str) -> &'p str {
        let place = self.places[..self.len].get(index);
        place
            .and_then(|(from, to, _)| path.get(*from as usize..*to as usize))
            .unwrap_or("")
    }

    /// Whether it may hold several segments.
    pub(super) fn is_many(&self, index: usize) -> bool {
        self.places[..self.len].get(index).is_some_and(|p| p.2)
    }
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            ends: Vec::new(),
            custom: false,
        }
    }
}

impl<T> Paths<T> {
    /// Without any.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a template in.
    ///
    /// # Errors
    ///
    /// Where it is none, or another of the same verb matches the same paths.
    pub fn insert(&mut self, verb: Verb, template: &str, value: T) -> Result<(), Clash> {
        let malformed = || Clash::Malformed(template.to_owned());
        let parsed = Template::parse(template).ok_or_else(malformed)?;
        let mut node = 0;
        for segment in &parsed.segments {
            node = self.child(node, segment);
        }
        let same = |end: &&usize| self.ends[**end].is(&verb, parsed.custom);
        if let Some(other) = self.nodes[node].ends.iter().find(same) {
            let (template, other) = (template.to_owned(), self.ends[*other].template.to_string());
            return Err(Clash::Same {
                verb,
                template,
                other,
            });
        }
        self.custom |= !parsed.custom.is_empty();
        self.nodes[node].ends.push(self.ends.len());
        self.ends.push(End {
            verb,
            custom: parsed.custom.into(),
            template: template.into(),
            variables: parsed.variables.into(),
            value,
        });
        Ok(())
    }

    /// All that were taken in, in that order.
    pub(super) fn into_all(self) -> impl Iterator<Item = (Verb, Box<str>, T)> {
        self.ends
            .into_iter()
            .map(|end| (end.verb, end.template, end.value))
    }

    /// Verbs and templates, in the order they were taken in.
    pub fn templates(&self) -> impl Iterator<Item = (&Verb, &str)> {
        self.ends.iter().map(|end| (&end.verb, &*end.template))
    }

    fn child(&mut self, node: usize, segment: &Segment<'_>) -> usize {
        let new = self.nodes.len();
        let here = &mut self.nodes[node];
        let child = match segment {
            Segment::Literal(text) => match here.literal(text) {
                Ok(at) => here.literals[at].1,
                Err(at) => {
                    here.literals.insert(at, ((*text).into(), new));
                    new
                }
            },
            Segment::One => *here.one.get_or_insert(new),
            Segment::Rest => *here.rest.get_or_insert(new),
        };
        if child == new {
            self.nodes.push(Node::default());
        }
        child
    }

    /// What matches `path`, which is without its query and still escaped. No allocation where
    /// something does; a HEAD is a GET where no template is for it.
    #[must_use]
    pub fn find(&self, verb: &Verb, path: &str) -> Found<'_, T> {
        if let Some((value, variables)) = self.at(verb, path) {
            return Found::Here(value, variables);
        }
        let mut verbs: Vec<&Verb> = Vec::new();
        let known = self.ends.iter().map(|end| &end.verb);
        for other in known {
            if !verbs.contains(&other) && self.search(other, path).is_some() {
                verbs.push(other);
            }
        }
        if verbs.is_empty() {
            return Found::Nowhere;
        }
        Found::OtherVerb(verbs)
    }

    /// As [`find`](Self::find), for who does not ask why there is none.
    pub(crate) fn at(&self, verb: &Verb, path: &str) -> Option<(&T, Variables)> {
        let mut found = self.search(verb, path);
        if found.is_none() && *verb == Verb::HEAD {
            found = self.search(&Verb::GET, path);
        }
        let (end, variables) = found?;
        Some((&end.value, variables))
    }

    fn search(&self, verb: &Verb, path: &str) -> Option<(&End<T>, Variables)> {
        let whole = path.strip_prefix('/')?;
        if self.custom
            && let Some((bare, custom)) = whole.rsplit_once(':')
            && !custom.is_empty()
            && !custom.contains('/')
            && let Some(found) = Search::new(self, verb, bare, custom).run()
        {
            return Some(found);
        }
        Search::new(self, verb, whole, "").run()
    }
}

impl Node {
    fn literal(&self, text: &str) -> Result<usize, usize> {
        self.literals
            .binary_search_by(|(known, _)| (**known).cmp(text))
    }
}

impl<T> End<T> {
    fn is(&self, verb: &Verb, custom: &str) -> bool {
        self.verb == *verb && *self.custom == *custom
    }
}

struct Search<'a, 'p, T> {
    paths: &'a Paths<T>,
    verb: &'p Verb,
    /// Without the first slash and the custom verb.
    path: &'p str,
    custom: &'p str,
    /// Where each segment starts in `path`.
    starts: [usize; MOST_SEGMENTS + 1],
}

impl<'a, 'p, T> Search<'a, 'p, T> {
    fn new(paths: &'a Paths<T>, verb: &'p Verb, path: &'p str, custom: &'p str) -> Self {
        Self {
            paths,
            verb,
            path,
            custom,
            starts: [0; MOST_SEGMENTS + 1],
        }
    }

    fn run(mut self) -> Option<(&'a End<T>, Variables)> {
        self.step(0, 0, 0)
    }

    /// `at` is where the next segment starts: past the path's end where none is left.
    fn step(&mut self, node: usize, depth: usize, at: usize) -> Option<(&'a End<T>, Variables)> {
        let here = &self.paths.nodes[node];
        self.starts[depth] = at;
        if at > self.path.len() {
            return self.end(here, depth).or_else(|| {
                let rest = &self.paths.nodes[here.rest?];
                self.starts[depth + 1] = at;
                self.end(rest, depth + 1)
            });
        }
        let text = &self.path[at..];
        let len = text.find('/').unwrap_or(text.len());
        let next = at + len + 1;
        if let Ok(child) = here.literal(&text[..len])
            && let Some(found) = self.step(here.literals[child].1, depth + 1, next)
        {
            return Some(found);
        }
        if len > 0
            && let Some(child) = here.one
            && let Some(found) = self.step(child, depth + 1, next)
        {
            return Some(found);
        }
        self.starts[depth] = at;
        let rest = &self.paths.nodes[here.rest?];
        self.starts[depth + 1] = self.path.len() + 1;
        self.end(rest, depth + 1)
    }

    fn end(&self, node: &Node, depth: usize) -> Option<(&'a End<T>, Variables)> {
        let ends = node.ends.iter().map(|end| &self.paths.ends[*end]);
        let end = ends
            .into_iter()
            .find(|end| end.is(self.verb, self.custom))?;
        let mut variables = Variables::NONE;
        variables.len = end.variables.len();
        for (place, span) in variables.places.iter_mut().zip(&*end.variables) {
            let Range { start, end } = self.range(span, depth);
            *place = (start as u32, end as u32, span.many);
        }
        Some((end, variables))
    }

    /// In the path with its first slash.
    fn range(&self, span: &Span, depth: usize) -> Range<usize> {
        let from = self.starts[span.from.min(depth)];
        let to = self.starts[span.to.min(depth)];
        let to = to.saturating_sub(1).max(from).min(self.path.len());
        from.min(self.path.len()) + 1..to + 1
    }
}

impl<T> fmt::Debug for Search<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} /{}", self.verb, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(templates: &[&str]) -> Paths<usize> {
        let mut paths = Paths::new();
        for (i, template) in templates.iter().enumerate() {
            paths.insert(Verb::GET, template, i).unwrap();
        }
        paths
    }

    fn found(paths: &Paths<usize>, path: &str) -> Option<(usize, Vec<String>)> {
        match paths.find(&Verb::GET, path) {
            Found::Here(value, variables) => {
                let raw = |i| variables.raw(i, path).to_owned();
                Some((*value, (0..variables.len()).map(raw).collect()))
            }
            _ => None,
        }
    }

    #[test]
    fn a_literal_goes_before_a_variable_and_a_variable_before_the_rest() {
        let all = paths(&[
            "/a/{x}/c",
            "/a/b/{y}",
            "/a/{z=**}",
            "/a/b/c:do",
            "/{p=a/*}/d",
        ]);
        let told = |path: &str| found(&all, path).map(|(i, v)| (i, v.join(",")));
        let some = |i: usize, text: &str| Some((i, text.to_owned()));
        assert_eq!(told("/a/x/c"), some(0, "x"));
        assert_eq!(told("/a/b/c"), some(1, "c"));
        assert_eq!(told("/a/b/c:do"), some(3, ""));
        assert_eq!(told("/a/b/c:doo"), some(1, "c:doo"));
        assert_eq!(told("/a/x/d"), some(4, "a/x"));
        assert_eq!(told("/a/x/y/z"), some(2, "x/y/z"));
        assert_eq!(told("/a"), some(2, ""));
        assert_eq!(told("/a/"), some(2, ""));
        assert_eq!(told("/b"), None);
        assert_eq!(told("a/x/c"), None);
        assert_eq!(told(""), None);
    }

    #[test]
    fn verbs() {
        let mut all = Paths::new();
        all.insert(Verb::GET, "/a/{x}", 0).unwrap();
        all.insert(Verb::POST, "/a/b", 1).unwrap();
        // The literal is for another verb: the variable is tried.
        assert!(matches!(all.find(&Verb::GET, "/a/b"), Found::Here(0, _)));
        assert!(matches!(all.find(&Verb::HEAD, "/a/b"), Found::Here(0, _)));
        let Found::OtherVerb(verbs) = all.find(&Verb::PUT, "/a/b") else {
            panic!();
        };
        assert_eq!(verbs, [&Verb::GET, &Verb::POST]);
        assert!(matches!(all.find(&Verb::PUT, "/b"), Found::Nowhere));
    }

    #[test]
    fn what_clashes() {
        let mut all = paths(&["/a/{x}", "/a/{x}:do"]);
        let clash = all.insert(Verb::GET, "/a/{y}", 2).unwrap_err();
        assert_eq!(
            clash.to_string(),
            "GET /a/{y} matches the same paths as /a/{x}: change one of them"
        );
        assert!(all.insert(Verb::POST, "/a/{y}", 2).is_ok());
        let malformed = all.insert(Verb::GET, "/a/{", 2).unwrap_err();
        assert_eq!(malformed, Clash::Malformed("/a/{".to_owned()));
    }

    /// What a template says of a path, in the plainest way.
    fn matches(template: &str, path: &str) -> Option<Vec<String>> {
        let parsed = Template::parse(template).unwrap();
        let whole = path.strip_prefix('/')?;
        let bare = match parsed.custom {
            "" => whole,
            custom => whole.strip_suffix(&format!(":{custom}"))?,
        };
        let texts: Vec<&str> = bare.split('/').collect();
        let rest = parsed.segments.last() == Some(&Segment::Rest);
        let fixed = parsed.segments.len() - usize::from(rest);
        let right = |(segment, text): (&Segment<'_>, &&str)| match segment {
            Segment::Literal(literal) => literal == text,
            Segment::One => !text.is_empty(),
            Segment::Rest => true,
        };
        let enough = if rest {
            texts.len() >= fixed
        } else {
            texts.len() == fixed
        };
        let all = enough && parsed.segments.iter().zip(&texts).all(right);
        let text = |span: &Span| {
            let many = rest && span.to == parsed.segments.len();
            let to = if many { texts.len() } else { span.to };
            texts[span.from.min(to)..to].join("/")
        };
        all.then(|| parsed.variables.iter().map(text).collect())
    }

    fn a_template() -> impl Strategy<Value = String> {
        let segment = prop_oneof![
            "[ab]",
            Just("*".to_owned()),
            Just("{v}".to_owned()),
            Just("{v=a/*}".to_owned())
        ];
        let last = prop_oneof![
            "[ab]",
            Just("{w}".to_owned()),
            Just("{w=**}".to_owned()),
            Just("**".to_owned())
        ];
        let custom = prop_oneof![3 => Just(String::new()), 1 => Just(":go".to_owned())];
        (proptest::collection::vec(segment, 0..3), last, custom).prop_map(
            |(segments, last, custom)| {
                let all: Vec<String> = segments.into_iter().chain([last]).collect();
                format!("/{}{custom}", all.join("/"))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

        #[test]
        fn the_tree_finds_what_a_list_would(
            templates in proptest::collection::vec(a_template(), 1..6),
            path in "/([ab]|c1|)(/([ab]|xy|)){0,4}(:go|:no)?",
        ) {
            let mut all = Paths::new();
            let mut kept = Vec::new();
            for template in &templates {
                if all.insert(Verb::GET, template, kept.len()).is_ok() {
                    kept.push(template.clone());
                }
            }
            let some = kept.iter().any(|t| matches(t, &path).is_some());
            match found(&all, &path) {
                None => prop_assert!(!some, "{path} of {kept:?}"),
                Some((i, variables)) => {
                    prop_assert_eq!(Some(variables), matches(&kept[i], &path), "{} by {}", path, kept[i]);
                }
            }
        }

        #[test]
        fn no_path_panics(templates in proptest::collection::vec(a_template(), 1..4), path in "[/:%ab{}é]{0,30}") {
            let mut all = Paths::new();
            for template in &templates {
                let _ = all.insert(Verb::GET, template, ());
            }
            let _ = all.find(&Verb::PUT, &path);
        }
    }
}
