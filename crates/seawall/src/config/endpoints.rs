//! What an upstream's lists of endpoints say, as far as it stands in the file.

use super::model::{Config, Upstream};
use crate::discovery::{Source, Target};

/// The lists, by their setting; `endpoints` comes first.
pub(super) fn endpoint_lists(upstream: &Upstream) -> [(&'static str, &[String]); 3] {
    [
        ("endpoints", &upstream.endpoints),
        ("replicas.endpoints", &upstream.replicas.endpoints),
        ("gutter.endpoints", &upstream.gutter.endpoints),
    ]
}

/// What is written out; what a file or SRV records hold is not among it.
pub(super) fn targets(list: &[String]) -> Vec<Target> {
    let mut targets = Vec::new();
    for source in list.iter().filter_map(|text| text.parse().ok()) {
        if let Source::Static(more) = source {
            targets.extend(more);
        }
    }
    targets
}

/// Whether nothing but what is written out is in it.
pub(super) fn is_static(list: &[String]) -> bool {
    let of = |text: &String| matches!(text.parse(), Ok(Source::Static(_)));
    list.iter().all(of)
}

impl Config {
    /// Looks at the files that endpoints come from (`file://`): each setting whose file cannot be
    /// used, and why. Reads the disk, so [`Config::parse`] does not. A gateway takes such a
    /// configuration all the same and waits for the file; whoever checks one wants to know.
    ///
    /// ```
    /// use seawall::config::Config;
    ///
    /// let text = "[upstreams.a]\nurl = 'http://a'\nendpoints = ['file:///no/such/file']";
    /// let config = Config::parse(text).unwrap();
    /// assert_eq!(config.bad_endpoint_files()[0].0, "upstreams.a.endpoints");
    /// ```
    #[must_use]
    pub fn bad_endpoint_files(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (name, upstream) in &self.upstreams {
            for (key, list) in endpoint_lists(upstream) {
                for text in list {
                    let Ok(source) = text.parse::<Source>() else {
                        continue;
                    };
                    if let Err(error) = source.check() {
                        found.push((format!("upstreams.{name}.{key}"), format!("{text} {error}")));
                    }
                }
            }
        }
        found
    }
}
