//! Many short texts in one room: an allocation for each would cost more than all else that is done with them.

#[derive(Clone, Debug, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    /// Where each of them ends in the bytes.
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
    fn texts_come_out_as_they_went_in() {
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
