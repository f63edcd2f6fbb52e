//! From text to documents: YAML (and so JSON) into values of bounded size, and values into typed fields.
//!
//! The translator's first step. Refused are text that is no YAML, what JSON cannot say, documents that grow beyond the
//! limit through aliases, unknown fields and wrong types. Nothing here knows what a field means.

use super::fault::{Fault, Faults};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_path_to_error::{Segment, Track};
use std::cell::Cell;
use std::fmt;

/// The most text one request may carry, and the most that its aliases may make of it, in bytes.
pub const LIMIT: usize = 4 * 1024 * 1024;

/// How many wrong types of one document are told at once.
const WRONG_TYPES: usize = 16;

/// Splits `text` into its documents; empty ones are left out.
pub fn split(text: &str) -> Result<Vec<Value>, Fault> {
    let fault = |document: String, reason: String| Fault { document, field: String::new(), reason };
    if text.len() > LIMIT {
        return Err(fault("documents".into(), format!("{} bytes are more than the {LIMIT} allowed", text.len())));
    }
    let budget = Cell::new(LIMIT);
    let mut documents = Vec::new();
    for (index, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        match Bounded(&budget).deserialize(document) {
            Ok(Value::Null) => {}
            Ok(value) => documents.push(value),
            Err(e) => return Err(fault(format!("document {}", index + 1), e.to_string())),
        }
    }
    Ok(documents)
}

/// Reads a `T` out of `value`, which stands at `at`. Unknown fields and wrong types become faults; a wrong type is taken
/// out and the rest read again, so that all are found. `None`: what is left makes no `T`.
pub fn read<T: DeserializeOwned>(mut value: Value, at: &str, faults: &mut Faults) -> Option<T> {
    for _ in 0..WRONG_TYPES {
        let mut unknown = Vec::new();
        let mut track = Track::new();
        let reader = serde_path_to_error::Deserializer::new(&value, &mut track);
        let result = serde_ignored::deserialize(reader, |path| unknown.push(join(at, &dotted(&path))));
        let error = match result {
            Ok(read) => {
                unknown.into_iter().for_each(|field| faults.add(field, "unknown field"));
                return Some(read);
            }
            Err(error) => error,
        };
        let path = track.path();
        if let Some(field) = missing(&error.to_string()) {
            let field = join(&field_at(at, &path), field);
            if !faults.has_refused(&field) {
                unknown.into_iter().for_each(|field| faults.add(field, "unknown field"));
                faults.add(field, "missing");
            }
            return None;
        }
        faults.refuse(field_at(at, &path), error);
        take_out(&mut value, &path)?;
    }
    None
}

fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

fn field_at(at: &str, path: &serde_path_to_error::Path) -> String {
    match path.iter().next() {
        Some(_) => join(at, &path.to_string()),
        None => at.to_owned(),
    }
}

fn join(at: &str, field: &str) -> String {
    match at {
        "" => field.to_owned(),
        at if field.starts_with('[') => format!("{at}{field}"),
        at => format!("{at}.{field}"),
    }
}

/// Removes the named entry. An element of a list stays, for the others would change their numbers: `None`.
fn take_out(value: &mut Value, path: &serde_path_to_error::Path) -> Option<()> {
    let mut here = value;
    let mut segments = path.iter().filter(|segment| !matches!(segment, Segment::Enum { .. })).peekable();
    while let Some(segment) = segments.next() {
        match segment {
            Segment::Map { key } if segments.peek().is_none() => return here.as_object_mut()?.remove(key).map(drop),
            Segment::Map { key } => here = here.get_mut(key)?,
            Segment::Seq { index } => here = here.get_mut(index)?,
            Segment::Enum { .. } | Segment::Unknown => return None,
        }
    }
    None
}

/// `a.b[0].c`, the same form that serde_path_to_error writes.
fn dotted(path: &serde_ignored::Path) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", dotted(parent)),
        Path::Map { parent, key } => join(&dotted(parent), key),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => dotted(parent),
    }
}

/// Builds a JSON value and takes every node and byte of it out of the budget, so that aliases cannot multiply without end.
#[derive(Clone, Copy)]
struct Bounded<'a>(&'a Cell<usize>);

/// What a node costs beside its text.
const NODE: usize = 16;

impl Bounded<'_> {
    fn spend<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(
            left.ok_or_else(|| E::custom(format_args!("grows beyond {LIMIT} bytes when its aliases are expanded")))?,
        );
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Bounded<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Bounded<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a mapping, a list, text, a number, true, false or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom(format_args!("{value} is not a number here")))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(self)? {
            self.spend(NODE)?;
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.spend(NODE + key.len())?;
            let value = map.next_value_seed(self)?;
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format_args!("{key:?} stands there twice")));
            }
            entries.insert(key, value);
        }
        Ok(Value::Object(entries))
    }
}
