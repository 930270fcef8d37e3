//! Makes types of what was written, for serde, and knows at each step where that was.
//!
//! A deserialiser of our own, since it is told the names of a struct's fields: so a key that no
//! field has is found in a service's own types as well, without any attribute of theirs, and the
//! nearest name is told.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, VariantAccess, Visitor,
};

use super::tree::{Node, Place, Table, Value, literal};
use crate::config::nearest;

/// The newtype by which a secret says what it is.
pub(super) const SECRET: &str = "$seawall::Secret";

/// What is found on the way and does not end it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Keys that nothing reads.
    pub(super) unknown: Vec<Fault>,
    /// Secrets in plain text.
    pub(super) plain: Vec<(String, Place)>,
    /// The names that the outermost struct has.
    pub(super) fields: Option<&'static [&'static str]>,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The setting: `http.address`.
    pub key: String,
    /// Where it was written.
    pub place: Place,
    /// What is wrong with it, and what to write.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "{}: {}", self.place, self.text);
        }
        write!(f, "{}: `{}` {}", self.place, self.key, self.text)
    }
}

/// serde's error on its way out: gets its place at the first step that knows one.
#[derive(Debug)]
pub(super) struct Unread {
    text: String,
    missing: Option<&'static str>,
    /// There is a key that the type does not know.
    key: bool,
    at: Option<(String, Place)>,
}

impl Unread {
    pub(super) const fn is_of_a_key(&self) -> bool {
        self.key
    }

    pub(super) fn fault(self) -> Fault {
        let (key, place) = self.at.unwrap_or_default();
        Fault {
            key,
            place,
            text: self.text,
        }
    }

    fn at(mut self, path: &Path<'_>, node: &Node) -> Self {
        if self.at.is_none() {
            self.at = Some(match self.missing {
                Some(field) => {
                    let path = Path::Below(path, field);
                    (path.to_string(), node.name.clone())
                }
                None => (path.to_string(), node.place.clone()),
            });
        }
        self
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Unread {}

impl serde::de::Error for Unread {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self {
            text: text.to_string(),
            missing: None,
            key: false,
            at: None,
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {found}"))
    }

    fn unknown_variant(found: &str, known: &'static [&'static str]) -> Self {
        let near = nearest(found, known.iter().copied());
        let near = near.map(|near| format!(" (did you mean `{near}`?)"));
        Self::custom(format!(
            "`{found}` is not known here: one of {}{}",
            known.join(", "),
            near.unwrap_or_default()
        ))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self {
            key: true,
            ..Self::custom(format!("has an unknown setting `{field}`"))
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self {
            missing: Some(field),
            ..Self::custom("is missing: it has no default, write it")
        }
    }
}

/// The way from the root to a value.
pub(super) enum Path<'p> {
    Root,
    Below(&'p Path<'p>, &'p str),
    Entry(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Below(Path::Root, name) => shown(name, f),
            Self::Below(path, name) => {
                write!(f, "{path}.")?;
                shown(name, f)
            }
            Self::Entry(path, n) => write!(f, "{path}[{n}]"),
        }
    }
}

fn shown(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.chars().all(plain) {
        f.write_str(name)
    } else {
        write!(f, "\"{name}\"")
    }
}

/// One value, to be read.
pub(super) struct In<'n> {
    pub(super) node: &'n Node,
    pub(super) path: &'n Path<'n>,
    pub(super) found: &'n RefCell<Found>,
}

impl In<'_> {
    fn wrong(&self, expected: &dyn serde::de::Expected) -> Unread {
        let quoted = match &self.node.value {
            Value::Text(text) if text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok() => {
                " (leave out the quotes?)"
            }
            _ => "",
        };
        let text = format!(
            "expected {expected}, found {}{quoted}",
            self.node.value.kind()
        );
        Unread::custom(text).at(self.path, self.node)
    }

    fn any<'de, V: Visitor<'de>>(&self, value: &Value, visitor: V) -> Result<V::Value, Unread> {
        match value {
            Value::Text(text) => visitor.visit_str(text),
            Value::Whole(n) => visitor.visit_i64(*n),
            Value::Fraction(n) => visitor.visit_f64(*n),
            Value::Flag(flag) => visitor.visit_bool(*flag),
            Value::List(entries) => visitor.visit_seq(Entries {
                entries: entries.iter().enumerate(),
                path: self.path,
                found: self.found,
            }),
            Value::Table(table) => visitor.visit_map(Fields::of(table, self)),
            Value::Raw(text) => {
                let value = literal(text, &self.node.place);
                self.any(&value, visitor)
            }
        }
        .map_err(|error| error.at(self.path, self.node))
    }

    /// As a number or a flag: what a variable holds is text that must be one.
    fn simple<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Unread> {
        match &self.node.value {
            Value::Raw(text) => match literal(text, &self.node.place) {
                Value::Text(_) => {
                    let text = format!("`{text}` is not what belongs here: {}", Belongs(&visitor));
                    Err(Unread::custom(text).at(self.path, self.node))
                }
                value => self.any(&value, visitor),
            },
            Value::List(_) | Value::Table(_) | Value::Text(_) => Err(self.wrong(&visitor)),
            value => self.any(value, visitor),
        }
    }

    fn check_names(&self, table: &Table, fields: &'static [&'static str]) {
        for (name, node) in table {
            if fields.contains(&name.as_str()) {
                continue;
            }
            let near = nearest(name, fields.iter().copied());
            let near = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are {}", fields.join(", ")),
            };
            self.found.borrow_mut().unknown.push(Fault {
                key: Path::Below(self.path, name).to_string(),
                place: node.name.clone(),
                text: format!("unknown setting: {near}"),
            });
        }
    }
}

struct Belongs<'e>(&'e dyn serde::de::Expected);

impl fmt::Display for Belongs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! simple {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
            self.simple(visitor)
        }
    )*};
}

macro_rules! any {
    ($($name:ident)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
            self.any(&self.node.value, visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for In<'_> {
    type Error = Unread;

    simple! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_i128 deserialize_u128 deserialize_f32 deserialize_f64
    }

    any! { deserialize_any deserialize_ignored_any deserialize_map }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        match &self.node.value {
            Value::Raw(text) => visitor.visit_str(text),
            Value::List(_) | Value::Table(_) => return Err(self.wrong(&visitor)),
            value => self.any(value, visitor),
        }
        .map_err(|error| error.at(self.path, self.node))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        if let Value::Table(table) = &self.node.value {
            self.check_names(table, &[]);
        }
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unread> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unread> {
        if name == SECRET
            && let Value::Text(text) | Value::Raw(text) = &self.node.value
            && super::secret::is_plain(text)
            && !matches!(self.node.place, Place::Variable(_))
        {
            let plain = (self.path.to_string(), self.node.place.clone());
            self.found.borrow_mut().plain.push(plain);
        }
        let (path, node) = (self.path, self.node);
        if name == SECRET && !matches!(node.value, Value::Text(_) | Value::Raw(_)) {
            // serde would tell what stands there.
            let text = format!(
                "expected a secret as text, found {}: put it in quotes",
                node.value.kind()
            );
            return Err(Unread::custom(text).at(path, node));
        }
        let read = visitor.visit_newtype_struct(self);
        read.map_err(|error| error.at(path, node))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unread> {
        match &self.node.value {
            Value::Raw(text) => match literal(text, &self.node.place) {
                Value::List(entries) => self.any(&Value::List(entries), visitor),
                // A variable is written without quotes and brackets: `a,b`.
                _ => {
                    let entry = |text: &str| Node {
                        value: Value::Raw(text.trim().to_owned()),
                        place: self.node.place.clone(),
                        name: self.node.name.clone(),
                    };
                    let entries = text.split(',').filter(|text| !text.trim().is_empty());
                    self.any(&Value::List(entries.map(entry).collect()), visitor)
                }
            },
            Value::Text(_) => {
                let text =
                    "expected a list, found text (put it in brackets: a list may have one entry)";
                Err(Unread::custom(text).at(self.path, self.node))
            }
            value => self.any(value, visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unread> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Unread> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unread> {
        if let Path::Root = self.path {
            self.found.borrow_mut().fields = Some(fields);
        }
        let value = match &self.node.value {
            Value::Raw(text) => &literal(text, &self.node.place),
            value => value,
        };
        match value {
            Value::Table(table) => {
                self.check_names(table, fields);
                self.any(value, visitor)
            }
            _ => Err(self.wrong(&"a table")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unread> {
        let read = match &self.node.value {
            Value::Text(text) | Value::Raw(text) => {
                visitor.visit_enum(text.as_str().into_deserializer())
            }
            Value::Table(table) if table.len() == 1 => match table.iter().next() {
                Some((name, node)) => visitor.visit_enum(One {
                    name,
                    node,
                    path: self.path,
                    found: self.found,
                }),
                None => return Err(self.wrong(&"one name")),
            },
            _ => return Err(self.wrong(&"text")),
        };
        read.map_err(|error: Unread| error.at(self.path, self.node))
    }
}

struct Entries<'n, I> {
    entries: I,
    path: &'n Path<'n>,
    found: &'n RefCell<Found>,
}

impl<'de, 'n, I: Iterator<Item = (usize, &'n Node)>> SeqAccess<'de> for Entries<'n, I> {
    type Error = Unread;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Unread> {
        let Some((n, node)) = self.entries.next() else {
            return Ok(None);
        };
        let path = Path::Entry(self.path, n);
        let read = seed.deserialize(In {
            node,
            path: &path,
            found: self.found,
        });
        read.map(Some).map_err(|error| error.at(&path, node))
    }
}

struct Fields<'n> {
    entries: std::collections::btree_map::Iter<'n, String, Node>,
    next: Option<(&'n str, &'n Node)>,
    path: &'n Path<'n>,
    found: &'n RefCell<Found>,
}

impl<'n> Fields<'n> {
    fn of(table: &'n Table, place: &In<'n>) -> Self {
        Self {
            entries: table.iter(),
            next: None,
            path: place.path,
            found: place.found,
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Unread;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Unread> {
        let Some((name, node)) = self.entries.next() else {
            return Ok(None);
        };
        self.next = Some((name, node));
        let name: StrDeserializer<'_, Unread> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Unread> {
        let Some((name, node)) = self.next.take() else {
            return Err(Unread::custom("a value without a name"));
        };
        let path = Path::Below(self.path, name);
        let read = seed.deserialize(In {
            node,
            path: &path,
            found: self.found,
        });
        read.map_err(|error| error.at(&path, node))
    }
}

/// A variant with something in it.
struct One<'n> {
    name: &'n str,
    node: &'n Node,
    path: &'n Path<'n>,
    found: &'n RefCell<Found>,
}

impl<'de> EnumAccess<'de> for One<'_> {
    type Error = Unread;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Unread> {
        let name: StrDeserializer<'_, Unread> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl One<'_> {
    fn read<T>(self, read: impl FnOnce(In<'_>) -> Result<T, Unread>) -> Result<T, Unread> {
        let path = Path::Below(self.path, self.name);
        read(In {
            node: self.node,
            path: &path,
            found: self.found,
        })
    }
}

impl<'de> VariantAccess<'de> for One<'_> {
    type Error = Unread;

    fn unit_variant(self) -> Result<(), Unread> {
        Err(Unread::custom(
            "takes no settings of its own: write its name alone",
        ))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Unread> {
        self.read(|inner| seed.deserialize(inner))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unread> {
        self.read(|inner| inner.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unread> {
        self.read(|inner| inner.deserialize_struct("", fields, visitor))
    }
}
