//! Redaction of text from outside: replies of servers, messages of clients and of credential providers.
//!
//! Every such text passes [`redact`] before it becomes part of an error or event.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

const HIDDEN: &str = "***";
/// Servers truncate long arguments. This number of leading characters identifies one.
const LEADING: usize = 8;

/// The secrets that are in use in this process.
static SECRETS: Mutex<Vec<Weak<str>>> = Mutex::new(Vec::new());

fn secrets() -> MutexGuard<'static, Vec<Weak<str>>> {
    // A poisoned lock still holds a usable list: each change is one step.
    SECRETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers a secret for as long as it is in use.
pub(crate) fn register(secret: &Arc<str>) {
    let mut secrets = secrets();
    secrets.retain(|known| known.strong_count() > 0);
    secrets.push(Arc::downgrade(secret));
}

/// Returns `text` without the secrets in use.
pub fn redact(text: &str) -> String {
    let known: Vec<_> = secrets().iter().filter_map(Weak::upgrade).collect();
    let mut text = text.to_owned();
    for secret in known {
        // Both as it is and as Redis quotes it.
        hide(&mut text, &[&secret, &secret.escape_default().to_string()]);
    }
    text
}

/// Returns `text` without the secrets in use and without the arguments of the command that it answers.
pub(crate) fn redact_arguments<'a>(
    text: &str,
    arguments: impl IntoIterator<Item = &'a [u8]>,
) -> String {
    let mut text = redact(text);
    for argument in arguments {
        // Shorter arguments are numbers or keywords.
        if argument.len() < LEADING {
            continue;
        }
        // An argument longer than the text can only be quoted in part.
        let argument = &argument[..argument.len().min(text.len().max(LEADING))];
        hide(&mut text, &[&String::from_utf8_lossy(argument)]);
    }
    text
}

/// Replaces every occurrence of any of the `forms` of a secret, including truncated ones. A short form is replaced only
/// where it is a whole word.
fn hide(text: &mut String, forms: &[&str]) {
    let mut from = 0;
    while from < text.len() {
        let lengths = forms.iter().map(|form| matching(text, from, form));
        let end = from + lengths.max().unwrap_or(0);
        if end > from {
            text.replace_range(from..end, HIDDEN);
            from += HIDDEN.len();
        } else {
            from += text[from..].chars().next().map_or(1, char::len_utf8);
        }
    }
}

/// Returns the number of bytes of `text` at `from` that match `secret` and have to be hidden.
fn matching(text: &str, from: usize, secret: &str) -> usize {
    let (before, rest) = text.split_at(from);
    let pairs = rest.chars().zip(secret.chars());
    let equal = pairs.take_while(|(found, expected)| found == expected);
    let (count, length) = equal.fold((0, 0), |(count, length), (found, _)| {
        (count + 1, length + found.len_utf8())
    });
    let is_word = |neighbor: Option<char>| neighbor.is_some_and(char::is_alphanumeric);
    let is_whole = length == secret.len()
        && !is_word(before.chars().next_back())
        && !is_word(rest[length..].chars().next());
    if count >= LEADING || is_whole {
        length
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Secret;

    #[test]
    fn secrets_in_use_are_replaced_whole_escaped_or_truncated() {
        let secret = Secret::new("correct \"horse\" battery".into());
        let short = Secret::new("pw1".into());
        for (text, expected) in [
            ("args: 'correct \"horse\" battery' 'x'", "args: '***' 'x'"),
            (r#"args: "correct \"horse\" battery""#, r#"args: "***""#),
            ("args: 'correct \"ho", "args: '***"),
            ("AUTH default pw1", "AUTH default ***"),
            ("'pw1' pw12 apw1", "'***' pw12 apw1"),
            ("nothing to hide", "nothing to hide"),
        ] {
            assert_eq!(redact(text), expected);
        }
        drop((secret, short));
        assert_eq!(redact("'pw1'"), "'pw1'");
    }

    #[test]
    fn arguments_are_replaced_whole_or_truncated() {
        let arguments: [&[u8]; 3] = [b"sess:abcdefgh", b"{\"user\":\"ann\",\"n\":1}", b"PX"];
        let redacted = |text| redact_arguments(text, arguments);
        assert_eq!(redacted("no key 'sess:abcdefgh'"), "no key '***'");
        assert_eq!(redacted("PX {\"user\":\"an"), "PX ***");
    }
}
