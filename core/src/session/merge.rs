//! Three-way merge of a session: base, theirs and mine.
//!
//! The unit is the top-level key: values are copied whole, byte for byte, and never mixed. A key that this
//! request did not change since it loaded the session keeps its stored value; for a key that it changed or
//! deleted, its own change wins. The cookie is always this request's own.

use super::json_value::{self, Text};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::fmt;

const COOKIE: &[u8] = b"cookie";

/// The version that prevents a merge, since it is no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAnObject {
    Base,
    Theirs,
    Mine,
}

impl NotAnObject {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Base => {
                "what this request loaded is no JSON object, so there is nothing to merge"
            }
            Self::Theirs => "what is stored is no JSON object, so there is nothing to merge",
            Self::Mine => "what this request saves is no JSON object, so there is nothing to merge",
        }
    }
}

/// A top-level key and its value.
#[derive(Debug)]
struct Field<'text> {
    key: Text<'text>,
    /// The key as it is spelled in the text.
    spelled: &'text RawValue,
    value: &'text RawValue,
}

/// The fields of a JSON object in their order, each once. As with `JSON.parse`, the last value of a key counts.
#[derive(Debug, Default)]
struct Object<'text> {
    fields: Vec<Field<'text>>,
    indices: HashMap<Text<'text>, usize>,
}

impl<'text> Object<'text> {
    fn parse(text: &'text [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    fn get(&self, key: &[u8]) -> Option<&'text RawValue> {
        self.indices.get(key).map(|index| self.fields[*index].value)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut object = Object::default();
                while let Some((spelled, value)) = map.next_entry::<&RawValue, &RawValue>()? {
                    let key = json_value::text(spelled.get())
                        .ok_or_else(|| A::Error::custom("a key that is no string"))?;
                    match object.indices.get(&key) {
                        Some(index) => object.fields[*index].value = value,
                        None => {
                            object.indices.insert(key.clone(), object.fields.len());
                            object.fields.push(Field {
                                key,
                                spelled,
                                value,
                            });
                        }
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

fn same(one: Option<&RawValue>, other: Option<&RawValue>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => json_value::same(one, other),
        _ => false,
    }
}

/// Returns true if two sessions are the same, cookies aside.
pub(super) fn same_content(one: &[u8], other: &[u8]) -> bool {
    if one == other {
        return true;
    }
    let (Some(one), Some(other)) = (Object::parse(one), Object::parse(other)) else {
        return false;
    };
    let contains = |one: &Object<'_>, other: &Object<'_>| {
        other
            .fields
            .iter()
            .all(|Field { key, value, .. }| **key == *COOKIE || same(one.get(key), Some(value)))
    };
    contains(&one, &other) && contains(&other, &one)
}

/// Returns the session to store when this request loaded `base`, `theirs` was stored since, and it now saves `mine`.
///
/// # Errors
/// [`NotAnObject`] names the text that cannot be merged.
pub(super) fn merge(base: &[u8], theirs: &[u8], mine: &[u8]) -> Result<Vec<u8>, NotAnObject> {
    let base = Object::parse(base).ok_or(NotAnObject::Base)?;
    let theirs_object = Object::parse(theirs).ok_or(NotAnObject::Theirs)?;
    let mine_object = Object::parse(mine).ok_or(NotAnObject::Mine)?;

    let mut merged = Vec::with_capacity(theirs.len().max(mine.len()) + 64);
    let mut add = |spelled: &RawValue, value: &RawValue| {
        merged.push(if merged.is_empty() { b'{' } else { b',' });
        merged.extend_from_slice(spelled.get().as_bytes());
        merged.push(b':');
        merged.extend_from_slice(value.get().as_bytes());
    };
    for mine in &mine_object.fields {
        if *mine.key == *COOKIE || !same(base.get(&mine.key), Some(mine.value)) {
            add(mine.spelled, mine.value);
        } else if let Some(theirs) = theirs_object.get(&mine.key) {
            add(mine.spelled, theirs);
        }
        // Otherwise this request did not change it, and another deleted it.
    }
    for theirs in &theirs_object.fields {
        // A key that is in the base as well was deleted by this request.
        let is_new = mine_object.get(&theirs.key).is_none() && base.get(&theirs.key).is_none();
        if is_new && *theirs.key != *COOKIE {
            add(theirs.spelled, theirs.value);
        }
    }
    if merged.is_empty() {
        merged.push(b'{');
    }
    merged.push(b'}');
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, theirs: &str, mine: &str, expected: &str) {
        let merged = merge(base.as_bytes(), theirs.as_bytes(), mine.as_bytes()).expect("objects");
        assert_eq!(String::from_utf8(merged).expect("UTF-8"), expected);
    }

    #[test]
    fn keys_added_on_either_side_are_kept() {
        check("{}", r#"{"a":1}"#, r#"{"b":2}"#, r#"{"b":2,"a":1}"#);
        check(
            r#"{"n":0}"#,
            r#"{"n":0,"a":1}"#,
            r#"{"n":0,"b":2}"#,
            r#"{"n":0,"b":2,"a":1}"#,
        );
    }

    #[test]
    fn own_changes_win_and_other_keys_keep_their_stored_value() {
        check(r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":2}"#);
        check(r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":0}"#, r#"{"n":1}"#);
        check(r#"{"n":0}"#, r#"{"n":0}"#, r#"{"n":2}"#, r#"{"n":2}"#);
    }

    #[test]
    fn deletions_on_either_side_are_kept_unless_this_request_changed_the_key() {
        check(r#"{"n":0}"#, r#"{"n":1}"#, "{}", "{}");
        check(r#"{"n":0}"#, "{}", r#"{"n":0}"#, "{}");
        check(r#"{"n":0}"#, "{}", r#"{"n":2}"#, r#"{"n":2}"#);
        check(
            r#"{"n":0,"m":1}"#,
            r#"{"n":0,"m":1}"#,
            r#"{"m":1}"#,
            r#"{"m":1}"#,
        );
    }

    #[test]
    fn own_value_wins_when_both_add_the_same_key() {
        check("{}", r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":2}"#);
    }

    #[test]
    fn the_own_cookie_wins_even_unchanged() {
        check(
            r#"{"cookie":{"e":1}}"#,
            r#"{"cookie":{"e":2},"a":1}"#,
            r#"{"cookie":{"e":1}}"#,
            r#"{"cookie":{"e":1},"a":1}"#,
        );
        check("{}", r#"{"cookie":{"e":2}}"#, "{}", "{}");
    }

    #[test]
    fn values_are_copied_whole_and_byte_for_byte() {
        check(
            r#"{"cart":{"a":1}}"#,
            r#"{"cart":{"a":1,"b":1},"big":12345678901234567890,"f":1.10}"#,
            r#"{"cart":{"a":1,"c":1}}"#,
            r#"{"cart":{"a":1,"c":1},"big":12345678901234567890,"f":1.10}"#,
        );
        check(
            "{}",
            r#"{"s":"\u00e9\ud800 \/"}"#,
            r#"{"t":[ 1 , 2 ]}"#,
            r#"{"t":[ 1 , 2 ],"s":"\u00e9\ud800 \/"}"#,
        );
    }

    #[test]
    fn another_spelling_of_a_value_does_not_count_as_a_change() {
        check(
            r#"{"a":{"x":1,"y":"é"}}"#,
            r#"{"a":2}"#,
            r#"{"a":{ "y":"\u00e9", "x":1 }}"#,
            r#"{"a":2}"#,
        );
        check(
            r#"{"a":1.0,"b":{"c":-0},"d":1e400,"e":"\uD800"}"#,
            r#"{"a":2,"b":3,"d":4,"e":5}"#,
            r#"{"a":1,"b":{"c":0},"d":null,"e":"\ud800"}"#,
            r#"{"a":2,"b":3,"d":4,"e":5}"#,
        );
    }

    #[test]
    fn keys_are_compared_unescaped() {
        check(r#"{"\u0061":1}"#, r#"{"a":2}"#, r#"{"a":1}"#, r#"{"a":2}"#);
        check("{}", r#"{"a\"b":1}"#, r#"{"":2}"#, r#"{"":2,"a\"b":1}"#);
        check("{}", r#"{"a":1,"a":2}"#, "{}", r#"{"a":2}"#);
        check("{}", r#"{"__proto__":1}"#, "{}", r#"{"__proto__":1}"#);
        check(
            r#"{"\uD800":1}"#,
            r#"{"\uD800":2,"\udbff":3}"#,
            r#"{"\ud800":1,"x":1}"#,
            r#"{"\ud800":2,"x":1,"\udbff":3}"#,
        );
    }

    #[test]
    fn merge_names_the_version_that_is_no_object() {
        let merged = |base: &str, theirs: &str, mine: &str| {
            merge(base.as_bytes(), theirs.as_bytes(), mine.as_bytes())
        };
        assert_eq!(merged("1", "{}", "{}"), Err(NotAnObject::Base));
        assert_eq!(merged("{}", "[]", "{}"), Err(NotAnObject::Theirs));
        assert_eq!(merged("{}", "{}", "{}x"), Err(NotAnObject::Mine));
    }

    #[test]
    fn merge_is_idempotent() {
        let (base, theirs, mine) = (
            r#"{"a":1,"b":1,"c":1}"#,
            r#"{"a":1,"b":2,"d":4}"#,
            r#"{"a":9,"b":1,"c":1,"e":5}"#,
        );
        let once = merge(base.as_bytes(), theirs.as_bytes(), mine.as_bytes()).expect("objects");
        assert_eq!(
            merge(base.as_bytes(), &once, mine.as_bytes()).as_ref(),
            Ok(&once)
        );
    }

    #[test]
    fn deeply_nested_values_are_merged() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let theirs = format!(r#"{{"deep":{deep}}}"#);
        let merged = merge(b"{}", theirs.as_bytes(), br#"{"a":1}"#).expect("objects");
        assert_eq!(merged, format!(r#"{{"a":1,"deep":{deep}}}"#).as_bytes());
    }

    #[test]
    fn content_is_compared_without_the_cookie() {
        let same = |one: &str, other: &str| same_content(one.as_bytes(), other.as_bytes());
        assert!(same(r#"{"cookie":1,"a":[1]}"#, r#"{"a":[ 1 ],"cookie":2}"#));
        assert!(same(r#"{"a":1}"#, r#"{"cookie":2,"a":1}"#));
        assert!(!same(r#"{"a":1}"#, r#"{"a":1,"b":1}"#));
        assert!(!same(r#"{"a":1,"b":1}"#, r#"{"a":1}"#));
        assert!(!same(r#"{"a":1}"#, r#"{"a":"1"}"#));
        assert!(same("text", "text"));
        assert!(!same("text", "other"));
    }
}
