//! What may stand as a setting's value, and what is wrong with what stands there.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use toml::de::DeValue;

use super::client::HashOn;
use super::error::Problem;
use super::model::parse_url;
use super::network::Network;
use super::units::{ShowSize, ShowTime, size_like, time_like};
use crate::discovery::Source;

/// The form of a value, with its range, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `"250ms"`; the range in milliseconds.
    Time(u64, u64),
    /// `"64KiB"`; the range in bytes.
    Size(u64, u64),
    /// A whole number.
    Count(u64, u64),
    /// A fraction.
    Ratio(f64, f64),
    /// `true` or `false`.
    Flag,
    /// One of these names.
    Choice(&'static [&'static str]),
    /// `"127.0.0.1:8080"`.
    Address,
    /// `"http://host:port"` or `"https://host:port"`.
    Url,
    /// A list of networks.
    Networks,
    /// A list of IP addresses with ports.
    Addresses,
    /// A list of endpoints.
    Endpoints,
    /// What a call is hashed by.
    HashOn,
    /// A list of HTTP methods.
    Methods,
    /// A list of names of headers.
    Headers,
    /// A list of names of query parameters.
    Parameters,
    /// An absolute path.
    Path,
    /// A host name without a port.
    Host,
    /// 1 to 64 letters, digits, `-`, `_`.
    Name,
    /// The path of a file.
    File,
    /// Any text.
    Text,
    /// A text of at least so many bytes, fit for a header, never shown.
    Secret(usize),
}

impl fmt::Display for Kind {
    /// Form, unit and range, as they are shown to people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Time(from, to) => write!(f, "time, {} to {}", millis(from), millis(to)),
            Self::Size(from, to) => write!(f, "size, {} to {}", ShowSize(from), ShowSize(to)),
            Self::Count(from, to) => write!(f, "whole number, {from} to {to}"),
            Self::Ratio(from, to) => write!(f, "fraction, {from} to {to}"),
            Self::Flag => f.write_str("true or false"),
            Self::Choice(names) => write!(f, "one of {}", names.join(", ")),
            Self::Address => f.write_str("IP address and port"),
            Self::Url => f.write_str("http://host:port or https://host:port"),
            Self::Networks => f.write_str("list of networks such as [\"10.0.0.0/8\"]"),
            Self::Addresses => f.write_str("list of IP addresses and ports such as \"10.0.0.2:53\""),
            Self::Endpoints => f.write_str("list of \"host:port\", \"dns://name:port\", \"srv://_service._tcp.name\", \"file:///path\", \"etcd://host:port/prefix/service\""),
            Self::HashOn => f.write_str("client, path, header:NAME or cookie:NAME"),
            Self::Methods => f.write_str("list of methods such as [\"GET\"]"),
            Self::Headers => f.write_str("list of names of headers such as [\"accept-language\"]"),
            Self::Parameters => f.write_str("list of names of query parameters such as [\"utm_source\"]"),
            Self::Path => f.write_str("path beginning with `/`"),
            Self::Host => f.write_str("host name without port"),
            Self::Name => f.write_str("1 to 64 letters, digits, `-` or `_`"),
            Self::File => f.write_str("path of a file"),
            Self::Text => f.write_str("text"),
            Self::Secret(least) => write!(f, "text of at least {least} bytes"),
        }
    }
}

fn millis(n: u64) -> ShowTime {
    ShowTime(Duration::from_millis(n))
}

/// Whether `name` may name a listener, lane and so on.
pub(super) fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl Kind {
    /// What is wrong with `value`, if anything; `example` is one that is right, as it is written.
    pub(super) fn check(self, value: &DeValue<'_>, example: &'static str) -> Result<(), Problem> {
        let range = |inside: bool| {
            if inside {
                Ok(())
            } else {
                Err(Problem::Range(self.to_string()))
            }
        };
        match self {
            Self::Time(from, to) => {
                let time = time_like(&self.quantity(value)?, example.trim_matches('"'))
                    .map_err(|e| Problem::Unit(e.to_string()))?;
                range((Duration::from_millis(from)..=Duration::from_millis(to)).contains(&time))
            }
            Self::Size(from, to) => {
                let size = size_like(&self.quantity(value)?, example.trim_matches('"'))
                    .map_err(|e| Problem::Unit(e.to_string()))?;
                range((from..=to).contains(&size))
            }
            Self::Count(from, to) => {
                let n = value.as_integer().ok_or_else(|| self.wrong_type(value))?;
                let n = i128::from_str_radix(n.as_str(), n.radix()).unwrap_or(i128::MAX);
                range((i128::from(from)..=i128::from(to)).contains(&n))
            }
            Self::Ratio(from, to) => {
                let n = match value {
                    DeValue::Float(n) => n.as_str().parse().ok(),
                    DeValue::Integer(n) => n.as_str().parse().ok(),
                    _ => None,
                };
                let n: f64 = n.ok_or_else(|| self.wrong_type(value))?;
                range((from..=to).contains(&n))
            }
            Self::Flag => value
                .as_bool()
                .map(drop)
                .ok_or_else(|| self.wrong_type(value)),
            Self::Choice(names) => {
                let text = self.text(value)?;
                if names.contains(&text) {
                    Ok(())
                } else {
                    Err(Problem::Choice {
                        found: text.to_owned(),
                        known: names,
                    })
                }
            }
            _ if self.is_list() => Err(self.wrong_type(value)),
            _ => self.check_text(self.text(value)?),
        }
    }

    fn check_text(self, text: &str) -> Result<(), Problem> {
        let valid = |ok: bool| {
            if ok {
                Ok(())
            } else {
                let remedy = self.remedy(text);
                Err(Problem::Invalid(format!(
                    "expected {self}, found `{text}`{remedy}"
                )))
            }
        };
        match self {
            Self::Address => valid(text.parse::<SocketAddr>().is_ok()),
            Self::HashOn => text.parse::<HashOn>().map(drop).map_err(Problem::Invalid),
            Self::Url => parse_url(text).map(drop).map_err(Problem::Invalid),
            Self::Path => valid(text.starts_with('/') && !text.contains(['?', '#', ' ', '*'])),
            Self::Host => valid(
                !text.is_empty()
                    && text
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
            ),
            Self::Name => valid(is_name(text)),
            Self::File => valid(!text.is_empty() && !text.contains('\0')),
            Self::Secret(least) if text.len() < least => Err(Problem::Invalid(format!(
                "{} bytes are too few: {self}",
                text.len()
            ))),
            Self::Secret(_) if HeaderValue::from_str(text).is_err() => Err(Problem::Invalid(
                "contains characters that no header can carry".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// What is usually meant by a text that is wrong.
    fn remedy(self, text: &str) -> String {
        match self {
            Self::Address => {
                let port = text.rsplit(':').next().unwrap_or(text);
                let port = port.parse().unwrap_or(8080_u16);
                let ip = if text.starts_with("localhost") {
                    "127.0.0.1"
                } else {
                    "0.0.0.0"
                };
                format!(": write \"{ip}:{port}\", say")
            }
            Self::Host if text.contains('*') => {
                ": a name is matched whole, so write a route for each".to_owned()
            }
            Self::Path if text.contains('*') => {
                ": there are no wildcards; path_prefix matches everything below a path".to_owned()
            }
            _ => String::new(),
        }
    }

    /// Whether it is a list, whose entries are each looked at.
    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            Self::Networks
                | Self::Methods
                | Self::Headers
                | Self::Parameters
                | Self::Endpoints
                | Self::Addresses
        )
    }

    /// What is wrong with one entry of a list.
    pub(super) fn check_entry(self, entry: &DeValue<'_>) -> Result<(), Problem> {
        let text = self.text(entry)?;
        self.check_entry_text(text)
    }

    fn check_entry_text(self, text: &str) -> Result<(), Problem> {
        let bad = |why: String| Err(Problem::Invalid(why));
        match self {
            Self::Endpoints => match text.parse::<Source>() {
                Err(error) if error.to_string().contains(text) => bad(error.to_string()),
                Err(error) => bad(format!("in `{text}`: {error}")),
                Ok(_) => Ok(()),
            },
            Self::Addresses => match text.parse::<SocketAddr>() {
                Err(error) => bad(format!("`{text}`: {error}")),
                Ok(_) => Ok(()),
            },
            Self::Networks => match text.parse::<Network>() {
                Err(error) => bad(error.to_string()),
                Ok(_) => Ok(()),
            },
            Self::Headers if HeaderName::from_bytes(text.as_bytes()).is_err() => {
                bad(format!("`{text}` is not the name of a header"))
            }
            Self::Parameters if text.is_empty() || text.contains(['&', '=', '#', ' ']) => {
                bad(format!("`{text}` is not the name of a query parameter"))
            }
            Self::Headers | Self::Parameters => Ok(()),
            _ if text.parse::<Method>().is_err()
                || text.bytes().any(|b| b.is_ascii_lowercase()) =>
            {
                bad(format!(
                    "`{text}` is not a method: they are written in capitals, as \"GET\""
                ))
            }
            _ => Ok(()),
        }
    }

    /// A quantity's text; a bare number is let through so that the missing unit is named.
    fn quantity(self, value: &DeValue<'_>) -> Result<String, Problem> {
        match value {
            DeValue::Integer(n) => Ok(n.as_str().to_owned()),
            DeValue::Float(n) => Ok(n.as_str().to_owned()),
            _ => self.text(value).map(str::to_owned),
        }
    }

    fn text<'a>(self, value: &'a DeValue<'_>) -> Result<&'a str, Problem> {
        value.as_str().ok_or_else(|| self.wrong_type(value))
    }

    fn wrong_type(self, value: &DeValue<'_>) -> Problem {
        let bare = match self {
            Self::Count(..) | Self::Ratio(..) => value.as_str().map(|t| t.parse::<f64>().is_ok()),
            Self::Flag => value.as_str().map(|t| t.parse::<bool>().is_ok()),
            _ => None,
        };
        let alone = self.is_list() && value.as_str().is_some();
        Problem::Type {
            expected: self.to_string(),
            found: match bare {
                Some(true) => "string (leave out the quotes)",
                _ if alone => "string (put it in brackets: a list may have one entry)",
                _ => value.type_str(),
            },
        }
    }
}
