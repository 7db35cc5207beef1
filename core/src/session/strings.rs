//! Many short texts in one buffer: an allocation for each would cost more than all other work on them.

/// A list of texts in one buffer.
#[derive(Clone, Debug, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    /// The end of each text in `bytes`.
    ends: Vec<usize>,
}

impl Strings {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        self.ends.iter().map(move |&end| {
            let text = &self.bytes[begin..end];
            begin = end;
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_returned_unchanged_and_in_order() {
        let mut texts = Strings::default();
        assert_eq!(texts.iter().count(), 0);
        for text in [&b"one"[..], b"", b"\xff"] {
            texts.push(text);
        }
        assert_eq!(texts.len(), 3);
        let all: Vec<_> = texts.iter().collect();
        assert_eq!(all, [&b"one"[..], b"", b"\xff"]);
    }
}
