//! The rules of fields, as generated code calls them. Each adds a violation and goes on, so that a
//! caller is told of all at once.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::net::IpAddr;
use std::sync::OnceLock;

use regex::Regex;

use super::validate::{Path, Violations};

/// So many of something: `1 byte`, `2 bytes`.
struct Counted(usize, &'static str);

impl Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}

/// Something must be there: a message, a value other than the type's default.
pub fn required(there: bool, at: &Path<'_>, out: &mut Violations) {
    if !there {
        out.add(at, "required", "is required");
    }
}

/// Characters, at least.
pub fn min_len(value: &str, min: usize, at: &Path<'_>, out: &mut Violations) {
    // A character has at most four bytes: most texts need no count.
    if value.len() < min || (value.len() < min.saturating_mul(4) && value.chars().count() < min) {
        out.add(
            at,
            "min_len",
            format_args!("must have at least {}", Counted(min, "character")),
        );
    }
}

/// Characters, at most.
pub fn max_len(value: &str, max: usize, at: &Path<'_>, out: &mut Violations) {
    if value.len() > max && value.chars().count() > max {
        out.add(
            at,
            "max_len",
            format_args!("must have at most {}", Counted(max, "character")),
        );
    }
}

/// Bytes, at least.
pub fn min_bytes(value: &[u8], min: usize, at: &Path<'_>, out: &mut Violations) {
    if value.len() < min {
        out.add(
            at,
            "min_len",
            format_args!("must have at least {}", Counted(min, "byte")),
        );
    }
}

/// Bytes, at most.
pub fn max_bytes(value: &[u8], max: usize, at: &Path<'_>, out: &mut Violations) {
    if value.len() > max {
        out.add(
            at,
            "max_len",
            format_args!("must have at most {}", Counted(max, "byte")),
        );
    }
}

/// Elements or entries, at least.
pub fn min_items(len: usize, min: usize, at: &Path<'_>, out: &mut Violations) {
    if len < min {
        out.add(
            at,
            "min_items",
            format_args!("must have at least {}", Counted(min, "item")),
        );
    }
}

/// Elements or entries, at most.
pub fn max_items(len: usize, max: usize, at: &Path<'_>, out: &mut Violations) {
    if len > max {
        out.add(
            at,
            "max_items",
            format_args!("must have at most {}", Counted(max, "item")),
        );
    }
}

/// No element twice.
pub fn unique<T: Ord>(values: &[T], at: &Path<'_>, out: &mut Violations) {
    let mut seen = BTreeSet::new();
    for (i, value) in values.iter().enumerate() {
        if !seen.insert(value) {
            out.add(&at.index(i), "unique", "is there twice");
        }
    }
}

/// More than. No bound holds for a value that is no number.
pub fn gt<T: PartialOrd + Display>(value: T, bound: T, at: &Path<'_>, out: &mut Violations) {
    if !matches!(value.partial_cmp(&bound), Some(o) if o.is_gt()) {
        out.add(at, "gt", format_args!("must be more than {bound}"));
    }
}

/// At least.
pub fn gte<T: PartialOrd + Display>(value: T, bound: T, at: &Path<'_>, out: &mut Violations) {
    if !matches!(value.partial_cmp(&bound), Some(o) if o.is_ge()) {
        out.add(at, "gte", format_args!("must be at least {bound}"));
    }
}

/// Less than.
pub fn lt<T: PartialOrd + Display>(value: T, bound: T, at: &Path<'_>, out: &mut Violations) {
    if !matches!(value.partial_cmp(&bound), Some(o) if o.is_lt()) {
        out.add(at, "lt", format_args!("must be less than {bound}"));
    }
}

/// At most.
pub fn lte<T: PartialOrd + Display>(value: T, bound: T, at: &Path<'_>, out: &mut Violations) {
    if !matches!(value.partial_cmp(&bound), Some(o) if o.is_le()) {
        out.add(at, "lte", format_args!("must be at most {bound}"));
    }
}

/// One of those that are stated.
pub fn among<T: PartialEq + Display>(value: T, allowed: &[T], at: &Path<'_>, out: &mut Violations) {
    if !allowed.contains(&value) {
        out.add(at, "in", format_args!("must be one of {}", list(allowed)));
    }
}

/// None of those that are stated.
pub fn not_among<T: PartialEq + Display>(
    value: T,
    refused: &[T],
    at: &Path<'_>,
    out: &mut Violations,
) {
    if refused.contains(&value) {
        out.add(
            at,
            "not_in",
            format_args!("must be none of {}", list(refused)),
        );
    }
}

fn list<T: Display>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(T::to_string).collect();
    texts.join(", ")
}

/// A value that the enum states.
pub fn defined(is: bool, at: &Path<'_>, out: &mut Violations) {
    if !is {
        out.add(at, "defined", "must be a value that the definition states");
    }
}

/// A regular expression, compiled at its first use and once. It matches anywhere in the text, as
/// `^` and `$` are there to write.
#[derive(Debug)]
pub struct Pattern {
    text: &'static str,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    /// The build has seen that `text` compiles.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self {
            text,
            compiled: OnceLock::new(),
        }
    }

    /// Adds a violation where the text does not match.
    pub fn check(&self, value: &str, at: &Path<'_>, out: &mut Violations) {
        let compiled = self.compiled.get_or_init(|| Regex::new(self.text).ok());
        // None where the build's regex crate knew more of Unicode than ours: nothing passes then,
        // rather than everything.
        if !compiled.as_ref().is_some_and(|regex| regex.is_match(value)) {
            out.add(at, "pattern", format_args!("must match {}", self.text));
        }
    }
}

/// An address of e-mail, as browsers check it: the forms that nobody uses are refused.
pub fn email(value: &str, at: &Path<'_>, out: &mut Violations) {
    let right = value.len() <= 254
        && value.rsplit_once('@').is_some_and(|(local, host)| {
            let atom = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&b);
            !local.is_empty() && local.len() <= 64 && local.bytes().all(atom) && is_hostname(host)
        });
    if !right {
        out.add(at, "email", "must be an e-mail address");
    }
}

/// A UUID with its dashes: `c0ffee00-1234-4abc-8def-0123456789ab`.
pub fn uuid(value: &str, at: &Path<'_>, out: &mut Violations) {
    let right = value.len() == 36
        && value.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    if !right {
        out.add(at, "uuid", "must be a UUID");
    }
}

/// A host's name, by RFC 1123.
pub fn hostname(value: &str, at: &Path<'_>, out: &mut Violations) {
    if !is_hostname(value) {
        out.add(at, "hostname", "must be the name of a host");
    }
}

fn is_hostname(value: &str) -> bool {
    let label = |l: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&l.len())
            && l.bytes().all(inner)
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    value.len() <= 253 && value.split('.').all(label)
}

/// An IP address, of either version.
pub fn ip(value: &str, at: &Path<'_>, out: &mut Violations) {
    if value.parse::<IpAddr>().is_err() {
        out.add(at, "ip", "must be an IP address");
    }
}

/// An absolute URI.
pub fn uri(value: &str, at: &Path<'_>, out: &mut Violations) {
    let right = value.parse::<http::Uri>();
    if !right.is_ok_and(|uri| uri.scheme().is_some() && uri.authority().is_some()) {
        out.add(at, "uri", "must be an absolute URI");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Violation;
    use proptest::prelude::*;

    fn faults(rule: impl Fn(&Path<'_>, &mut Violations)) -> Vec<Violation> {
        let mut out = Violations::default();
        rule(&Path::ROOT.field("f"), &mut out);
        match out.into_result() {
            Ok(()) => Vec::new(),
            Err(error) => error.violations().to_vec(),
        }
    }

    fn passes(rule: impl Fn(&Path<'_>, &mut Violations)) -> bool {
        faults(rule).is_empty()
    }

    #[test]
    fn formats() {
        for right in [
            "a@b",
            "first.last+tag@example.org",
            "a!#$%&'*+/=?^_`{|}~-@b.c",
        ] {
            assert!(passes(|at, out| email(right, at, out)), "{right}");
        }
        for wrong in ["", "@b", "a@", "a b@c", "a@b..c", "a@-b", "<a@b>", "a@b c"] {
            assert!(!passes(|at, out| email(wrong, at, out)), "{wrong}");
        }
        assert!(passes(|at, out| uuid(
            "c0ffee00-1234-4abc-8def-0123456789aB",
            at,
            out
        )));
        for wrong in [
            "",
            "c0ffee00123441238def0123456789ab",
            "g0ffee00-1234-4abc-8def-0123456789ab",
        ] {
            assert!(!passes(|at, out| uuid(wrong, at, out)), "{wrong}");
        }
        assert!(passes(|at, out| ip("::1", at, out)) && passes(|at, out| ip("10.0.0.1", at, out)));
        assert!(!passes(|at, out| ip("10.0.0.256", at, out)));
        assert!(passes(|at, out| uri("https://example.org/a?b", at, out)));
        for wrong in ["", "example.org", "/a", "https://"] {
            assert!(!passes(|at, out| uri(wrong, at, out)), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_number_is_within_no_bounds() {
        let nan = f64::NAN;
        assert!(
            !passes(|at, out| gt(nan, 0.0, at, out)) && !passes(|at, out| lt(nan, 0.0, at, out))
        );
        assert!(
            !passes(|at, out| gte(nan, 0.0, at, out)) && !passes(|at, out| lte(nan, 0.0, at, out))
        );
        assert!(!passes(|at, out| among(nan, &[nan], at, out)));
    }

    #[test]
    fn one_is_told_in_the_singular() {
        let told = faults(|at, out| {
            min_len("", 1, at, out);
            max_len("abc", 2, at, out);
            min_bytes(b"", 1, at, out);
            max_items(2, 1, at, out);
        });
        let messages: Vec<_> = told.iter().map(|v| v.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "must have at least 1 character",
                "must have at most 2 characters",
                "must have at least 1 byte",
                "must have at most 1 item"
            ]
        );
    }

    #[test]
    fn twice_is_told_by_place() {
        let told = faults(|at, out| unique(&["a", "b", "a", "b"], at, out));
        let places: Vec<_> = told.iter().map(|v| v.field.as_str()).collect();
        assert_eq!(places, ["f[2]", "f[3]"]);
    }

    #[test]
    fn a_pattern_that_does_not_compile_lets_nothing_pass() {
        static BROKEN: Pattern = Pattern::new("(");
        static ANY: Pattern = Pattern::new("^[a-z]+$");
        assert!(!passes(|at, out| BROKEN.check("(", at, out)));
        assert!(passes(|at, out| ANY.check("abc", at, out)));
        assert!(!passes(|at, out| ANY.check("abc1", at, out)));
    }

    proptest! {
        #[test]
        fn lengths_count_characters(text in "\\PC{0,12}", bound in 0usize..14) {
            let count = text.chars().count();
            prop_assert_eq!(passes(|at, out| min_len(&text, bound, at, out)), count >= bound);
            prop_assert_eq!(passes(|at, out| max_len(&text, bound, at, out)), count <= bound);
        }

        #[test]
        fn bounds_are_the_comparisons(value: i64, bound: i64) {
            prop_assert_eq!(passes(|at, out| gt(value, bound, at, out)), value > bound);
            prop_assert_eq!(passes(|at, out| gte(value, bound, at, out)), value >= bound);
            prop_assert_eq!(passes(|at, out| lt(value, bound, at, out)), value < bound);
            prop_assert_eq!(passes(|at, out| lte(value, bound, at, out)), value <= bound);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,300}") {
            for format in [email, uuid, hostname, ip, uri] {
                format(&text, &Path::ROOT, &mut Violations::default());
            }
        }
    }
}
