//! Removes secrets from texts.

use napi_derive::napi;

/// Returns a text without the passwords in use, for the errors of the app's client.
#[napi(catch_unwind)]
pub(crate) fn redact(text: String) -> String {
    connect_redis_core::redact(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use connect_redis_core::Secret;

    #[test]
    fn redact_removes_the_secrets_in_use() {
        let _secret = Secret::new("of-the-server".into());
        let text = "WRONGPASS of-the-server is invalid";
        assert_eq!(redact(text.into()), "WRONGPASS *** is invalid");
    }
}
