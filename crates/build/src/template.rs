//! A path template of `google.api.http`, with a sentence for what is wrong with it.

use std::collections::BTreeSet;

/// What the runtime keeps on the stack while it matches a path.
const MOST_SEGMENTS: usize = 24;
const MOST_VARIABLES: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) text: String,
    /// Literals as they are, `*` and `**`.
    pub(crate) segments: Vec<String>,
    /// Fields by their paths, in the order of the text.
    pub(crate) variables: Vec<String>,
    /// What stands after the colon.
    pub(crate) custom: Option<String>,
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut template = Self {
            text: text.to_owned(),
            segments: Vec::new(),
            variables: Vec::new(),
            custom: None,
        };
        let mut rest = text
            .strip_prefix('/')
            .ok_or("it does not begin with a slash")?;
        loop {
            rest = template.segment(rest)?;
            if rest.is_empty() {
                break;
            }
            if let Some(custom) = rest.strip_prefix(':') {
                literal(custom)?;
                template.custom = Some(custom.to_owned());
                break;
            }
            rest = rest
                .strip_prefix('/')
                .ok_or_else(|| format!("`{rest}` follows a variable: a slash or a colon may"))?;
        }
        template.sound()?;
        Ok(template)
    }

    fn segment<'a>(&mut self, text: &'a str) -> Result<&'a str, String> {
        let Some(variable) = text.strip_prefix('{') else {
            let end = text.find(['/', ':']).unwrap_or(text.len());
            self.plain(&text[..end])?;
            return Ok(&text[end..]);
        };
        let (inside, after) = variable.split_once('}').ok_or("a brace is not closed")?;
        let (field, pattern) = inside.split_once('=').unwrap_or((inside, "*"));
        for part in pattern.split('/') {
            self.plain(part)?;
        }
        self.variables.push(field.to_owned());
        Ok(after)
    }

    fn plain(&mut self, text: &str) -> Result<(), String> {
        if text != "*" && text != "**" {
            literal(text)?;
        }
        self.segments.push(text.to_owned());
        Ok(())
    }

    fn sound(&self) -> Result<(), String> {
        let rest = self.segments.iter().position(|s| s == "**");
        if rest.is_some_and(|at| at + 1 < self.segments.len()) {
            return Err("`**` is not its last segment".into());
        }
        if self.segments.len() > MOST_SEGMENTS {
            return Err(format!("it has more than {MOST_SEGMENTS} segments"));
        }
        if self.variables.len() > MOST_VARIABLES {
            return Err(format!("it has more than {MOST_VARIABLES} variables"));
        }
        let different: BTreeSet<_> = self.variables.iter().collect();
        if different.len() < self.variables.len() {
            return Err("a variable is there twice".into());
        }
        Ok(())
    }

    /// What two templates have in common that match the same paths.
    pub(crate) fn shape(&self) -> String {
        let custom = self.custom.as_deref().unwrap_or("");
        format!("/{}:{custom}", self.segments.join("/"))
    }
}

fn literal(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("a segment is empty".into());
    }
    match text.find(|c: char| "{}*:?#%".contains(c) || c.is_whitespace()) {
        Some(at) => Err(format!("`{}` may not stand in `{text}`", &text[at..=at])),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar() {
        let template = Template::parse("/v1/{book.name=shelves/*}/pages/{page}:turn").unwrap();
        assert_eq!(template.variables, ["book.name", "page"]);
        assert_eq!(template.shape(), "/v1/shelves/*/pages/*:turn");
        for (wrong, why) in [
            ("v1", "begin with a slash"),
            ("/", "empty"),
            ("/a//b", "empty"),
            ("/{a", "not closed"),
            ("/{a}b", "`b` follows"),
            ("/{a=**}/b", "last segment"),
            ("/{a}/{a}", "twice"),
            ("/a b", "may not stand"),
            ("/a:", "empty"),
        ] {
            let told = Template::parse(wrong).unwrap_err();
            assert!(told.contains(why), "{wrong}: {told}");
        }
    }
}
