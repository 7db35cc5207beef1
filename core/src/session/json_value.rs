//! Compares JSON values as JavaScript does. A value has many spellings: `1`, `1.0` and `1e0` are the same number,
//! `"é"` and `"\u00e9"` the same string. Two values are the same if `JSON.stringify` returns the same text for both
//! after `JSON.parse`, except for the order of keys.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The maximum nesting depth of a value that is parsed: the parser is recursive and uses the stack.
const MAX_DEPTH: usize = 128;

/// A string in WTF-8: UTF-8, with three bytes for each unpaired surrogate. Two are equal if their UTF-16 units are.
pub(super) type Text<'text> = Cow<'text, [u8]>;

#[derive(Debug, PartialEq)]
enum Value<'text> {
    /// `null`, `true` or `false`.
    Word(&'text str),
    Number(f64),
    Text(Text<'text>),
    Array(Vec<Self>),
    /// Sorted by key. If a key occurs twice, the last value counts.
    Object(Vec<(Text<'text>, Self)>),
}

/// Returns true if two texts represent the same value. Texts nested too deeply to be parsed are compared byte for byte.
pub(super) fn same(one: &RawValue, other: &RawValue) -> bool {
    if one.get() == other.get() {
        return true;
    }
    let [one, other] = [one, other].map(|text| Reader { rest: text.get() }.value(MAX_DEPTH));
    matches!((one, other), (Some(one), Some(other)) if one == other)
}

/// Unescapes a JSON string; `None` if the text is not one.
pub(super) fn text(quoted: &str) -> Option<Text<'_>> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner.as_bytes()));
    }
    struct Unescaped(Vec<u8>);
    impl<'de> Deserialize<'de> for Unescaped {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Bytes;
            impl Visitor<'_> for Bytes {
                type Value = Unescaped;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a string")
                }

                fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Unescaped, E> {
                    Ok(Unescaped(bytes.to_vec()))
                }
            }
            // As bytes, serde_json returns WTF-8; as text, it would refuse unpaired surrogates.
            deserializer.deserialize_bytes(Bytes)
        }
    }
    let Unescaped(bytes) = serde_json::from_str(quoted).ok()?;
    Some(Cow::Owned(bytes))
}

/// Parses a text that is known to be valid JSON, so that its syntax need not be checked.
struct Reader<'text> {
    rest: &'text str,
}

impl<'text> Reader<'text> {
    /// Parses the next value; `None` if it is nested more deeply than `max_depth`.
    fn value(&mut self, max_depth: usize) -> Option<Value<'text>> {
        match self.peek()? {
            b'"' => self.text().map(Value::Text),
            b'[' => {
                let max_depth = max_depth.checked_sub(1)?;
                let mut array = Vec::new();
                self.each(b']', |reader| {
                    array.push(reader.value(max_depth)?);
                    Some(())
                })?;
                Some(Value::Array(array))
            }
            b'{' => {
                let max_depth = max_depth.checked_sub(1)?;
                let mut object = Vec::new();
                self.each(b'}', |reader| {
                    reader.peek()?;
                    let key = reader.text()?;
                    reader.punctuation()?;
                    object.push((key, reader.value(max_depth)?));
                    Some(())
                })?;
                // The sort is stable, so the last of equal keys comes first after `reverse`, and `dedup` keeps the first.
                object.reverse();
                object.sort_by(|(one, _), (other, _)| one.cmp(other));
                object.dedup_by(|(one, _), (other, _)| one == other);
                Some(Value::Object(object))
            }
            _ => {
                let end = self.rest.find([',', ']', '}', ' ', '\t', '\n', '\r']);
                let word = self.take(end.unwrap_or(self.rest.len()))?;
                if let "null" | "true" | "false" = word {
                    return Some(Value::Word(word));
                }
                let number: f64 = word.parse().ok()?;
                // `JSON.stringify` writes null for an infinite number.
                Some(if number.is_infinite() {
                    Value::Word("null")
                } else {
                    Value::Number(number)
                })
            }
        }
    }

    /// Parses the items between two brackets.
    fn each(&mut self, end: u8, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.punctuation()?;
        if self.peek()? == end {
            self.punctuation()?;
            return Some(());
        }
        loop {
            item(self)?;
            if self.punctuation()? == end {
                return Some(());
            }
        }
    }

    fn text(&mut self) -> Option<Text<'text>> {
        let bytes = self.rest.as_bytes();
        let mut end = 1;
        while *bytes.get(end)? != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        text(self.take(end + 1)?)
    }

    fn punctuation(&mut self) -> Option<u8> {
        let punctuation = self.peek()?;
        self.take(1)?;
        Some(punctuation)
    }

    /// Skips white space and returns the next byte without consuming it.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.rest.bytes().next()
    }

    fn take(&mut self, length: usize) -> Option<&'text str> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(one: &str, other: &str, expected: bool) {
        let [one, other] = [one, other].map(|text| {
            let value: &RawValue = serde_json::from_str(text).expect("JSON");
            value
        });
        assert_eq!(same(one, other), expected, "{one} {other}");
        assert_eq!(same(other, one), expected, "{other} {one}");
    }

    #[test]
    fn numbers_are_compared_as_javascript_numbers() {
        for (stored, stringified) in [
            ("1.0", "1"),
            ("1e2", "100"),
            ("1E+2", "100"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e400", "null"),
            ("-1e400", "null"),
            ("1e-400", "0"),
            ("12345678901234567890", "12345678901234567000"),
            ("9007199254740993", "9007199254740992"),
            ("0.1000000000000000055", "0.1"),
        ] {
            check(stored, stringified, true);
            check(
                &format!(r#"{{"a":[ {stored} ]}}"#),
                &format!(r#"{{ "a":[{stringified}] }}"#),
                true,
            );
        }
        check("1", "2", false);
        check("9007199254740992", "9007199254740994", false);
        check("1", r#""1""#, false);
        check("0", "null", false);
    }

    #[test]
    fn strings_are_compared_by_utf_16_units() {
        check(r#""\uD800""#, r#""\ud800""#, true);
        check(r#""\uD83D\uDE00""#, r#""😀""#, true);
        check(r#""\u00e9\/\n""#, r#""é/\u000a""#, true);
        check(r#""\ud800""#, r#""\ud801""#, false);
        check(r#""\ud800""#, "\"\u{fffd}\"", false);
        check(r#""\udc00\ud800""#, r#""\ud800\udc00""#, false);
        check(r#""a\"b""#, r#""a\u0022b""#, true);
        check(r#""a\\""#, r#""a\u005c""#, true);
    }

    #[test]
    fn the_order_of_arrays_counts_and_that_of_objects_does_not() {
        check("[]", "[ ]", true);
        check("{}", "{ }", true);
        check("[]", "{}", false);
        check("[1,2]", "[1 , 2 ]", true);
        check("[1,2]", "[2,1]", false);
        check("[1]", "[1,1]", false);
        check(r#"{"a":1,"b":{"c":[]}}"#, r#"{"b":{"c":[ ]},"a":1}"#, true);
        check(r#"{"a":1,"a":2}"#, r#"{"a":2}"#, true);
        check(r#"{"\ud800":1}"#, r#"{"\uD800":1}"#, true);
        check(r#"{"a":1}"#, r#"{"b":1}"#, false);
        check(r#"{"a":null}"#, "{}", false);
        check("[true,false,null]", "[true,false, null]", true);
        check("true", "false", false);
    }

    #[test]
    fn values_nested_too_deeply_are_compared_byte_for_byte() {
        let deep = |depth, space| format!("{}{space}{}", "[".repeat(depth), "]".repeat(depth));
        check(&deep(MAX_DEPTH, ""), &deep(MAX_DEPTH, " "), true);
        check(&deep(MAX_DEPTH + 1, ""), &deep(MAX_DEPTH + 1, " "), false);
        check(&deep(100_000, ""), &deep(100_000, ""), true);
        check(&deep(100_000, ""), &deep(100_000, " "), false);
    }
}
