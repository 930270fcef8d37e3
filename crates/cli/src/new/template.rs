//! Text with gaps: `{{name}}` is filled in, and lines between `{{#part}}` and `{{/part}}`, each on a
//! line of its own, stay only when the part is wanted; between `{{^part}}` and `{{/part}}`, only when
//! it is not.
//!
//! No more than that: a template that reads as what it becomes is reviewed as such.

/// What fills the gaps.
#[derive(Debug)]
pub(crate) struct Filling<'a> {
    /// Names of gaps, and what goes in.
    pub(crate) values: &'a [(&'a str, &'a str)],
    /// Parts that are wanted.
    pub(crate) parts: &'a [&'a str],
}

impl Filling<'_> {
    /// The text without gaps.
    pub(crate) fn fill(&self, template: &str) -> String {
        let mut wanted = vec![true];
        let mut text = String::with_capacity(template.len());
        for line in template.lines() {
            let opened = mark(line, "#").map(|part| (part, true));
            let opened = opened.or_else(|| mark(line, "^").map(|part| (part, false)));
            if let Some((part, with)) = opened {
                let above = wanted.last() != Some(&false);
                wanted.push(above && self.parts.contains(&part) == with);
            } else if mark(line, "/").is_some() {
                wanted.pop();
            } else if wanted.last() != Some(&false) {
                text.push_str(&self.line(line));
                text.push('\n');
            }
        }
        text
    }

    fn line(&self, line: &str) -> String {
        self.values
            .iter()
            .fold(line.to_owned(), |line, (name, value)| {
                line.replace(&format!("{{{{{name}}}}}"), value)
            })
    }
}

/// The part that a line opens or closes.
fn mark<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    let inner = line.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    inner.strip_prefix(kind)
}

#[cfg(test)]
mod tests {
    use super::Filling;

    #[test]
    fn gaps_are_filled_and_parts_kept_when_wanted() {
        let template = "a {{x}}{{x}}\n{{#p}}\np\n{{#q}}\npq\n{{/q}}\n{{/p}}\n  {{#q}}\nq\n{{/q}}\n{{^p}}\nno p\n{{/p}}\nend";
        let fill = |parts| {
            let values = &[("x", "1")];
            Filling { values, parts }.fill(template)
        };
        assert_eq!(fill(&[]), "a 11\nno p\nend\n");
        assert_eq!(fill(&["p"]), "a 11\np\nend\n");
        assert_eq!(fill(&["q"]), "a 11\nq\nno p\nend\n");
        assert_eq!(fill(&["p", "q"]), "a 11\np\npq\nq\nend\n");
    }
}
