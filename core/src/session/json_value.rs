//! Strings of JSON as JavaScript reads them. SessionRequest value has many spellings: `1`, `1.0` and `1e0` are one number,
//! `"é"` and `"\u00e9"` one string. Told apart is what `JSON.stringify` would, after `JSON.parse`.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// How deep a value may be to be read: what is read needs the stack.
const DEEPEST: usize = 128;

/// A string: UTF-8, and three bytes for each half of a surrogate pair that stands alone (WTF-8). So two are
/// the same if their units of UTF-16 are.
pub(super) type Text<'text> = Cow<'text, [u8]>;

#[derive(Debug, PartialEq)]
enum Value<'text> {
    /// `null`, `true` or `false`.
    Word(&'text str),
    Number(f64),
    Text(Text<'text>),
    List(Vec<Self>),
    /// In the order of the keys. Of a key that comes twice, the last value counts.
    Object(Vec<(Text<'text>, Self)>),
}

/// Whether two texts are the same value. Strings too deep to be read are not, unless they are the same.
pub(super) fn same(one: &RawValue, other: &RawValue) -> bool {
    if one.get() == other.get() {
        return true;
    }
    let [one, other] = [one, other].map(|text| Reader { rest: text.get() }.value(DEEPEST));
    matches!((one, other), (Some(one), Some(other)) if one == other)
}

/// What a string says; `None` if the text is not one.
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
            // As bytes, serde_json gives WTF-8; as text it would refuse half a surrogate pair.
            deserializer.deserialize_bytes(Bytes)
        }
    }
    let Unescaped(bytes) = serde_json::from_str(quoted).ok()?;
    Some(Cow::Owned(bytes))
}

/// Reads a text that is known to be JSON, so that what stands where need not be checked.
struct Reader<'text> {
    rest: &'text str,
}

impl<'text> Reader<'text> {
    /// The next value; `None` if it is deeper than this.
    fn value(&mut self, deepest: usize) -> Option<Value<'text>> {
        match self.peek()? {
            b'"' => self.text().map(Value::Text),
            b'[' => {
                let deepest = deepest.checked_sub(1)?;
                let mut list = Vec::new();
                self.each(b']', |reader| {
                    list.push(reader.value(deepest)?);
                    Some(())
                })?;
                Some(Value::List(list))
            }
            b'{' => {
                let deepest = deepest.checked_sub(1)?;
                let mut object = Vec::new();
                self.each(b'}', |reader| {
                    reader.peek()?;
                    let key = reader.text()?;
                    reader.punctuation()?;
                    object.push((key, reader.value(deepest)?));
                    Some(())
                })?;
                // Stable, so that the last of equal keys comes last: `dedup` keeps the first of them.
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
                // `JSON.stringify` writes null for a number beyond all.
                Some(if number.is_infinite() {
                    Value::Word("null")
                } else {
                    Value::Number(number)
                })
            }
        }
    }

    /// Reads what is between two brackets, item by item.
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
        let mut at = 1;
        while *bytes.get(at)? != b'"' {
            at += if bytes[at] == b'\\' { 2 } else { 1 };
        }
        text(self.take(at + 1)?)
    }

    fn punctuation(&mut self) -> Option<u8> {
        let mark = self.peek()?;
        self.take(1)?;
        Some(mark)
    }

    /// The next byte that is no space, which comes next from here on.
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
    fn numbers_are_those_of_javascript() {
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
    fn strings_are_units_of_utf_16() {
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
    fn lists_have_an_order_and_objects_none() {
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
    fn what_is_too_deep_to_be_read_is_the_same_only_byte_for_byte() {
        let deep = |depth, space| format!("{}{space}{}", "[".repeat(depth), "]".repeat(depth));
        check(&deep(DEEPEST, ""), &deep(DEEPEST, " "), true);
        check(&deep(DEEPEST + 1, ""), &deep(DEEPEST + 1, " "), false);
        check(&deep(100_000, ""), &deep(100_000, ""), true);
        check(&deep(100_000, ""), &deep(100_000, " "), false);
    }
}
