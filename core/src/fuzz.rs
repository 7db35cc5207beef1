//! Fuzz targets: each takes any bytes and panics if an invariant of the code that parses input does not hold.
//!
//! libFuzzer runs them for hours (`fuzz/README.md`), and the tests below for seconds, on mutations of the inputs in
//! `fuzz/seeds`. An input that once failed belongs there.

pub use crate::connection::{codec_fuzz as codec, slot_map_fuzz as slot_map};
pub use crate::options::url_fuzz as url;
pub use crate::session::{compare_and_set_fuzz as compare_and_set, expiry_fuzz as expiry};

/// The configuration of property tests: without files of failed inputs, which become seeds or tests of their own.
#[cfg(test)]
pub(crate) fn config() -> proptest::test_runner::Config {
    proptest::test_runner::Config {
        failure_persistence: None,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use std::fmt;
    use std::fs;
    use std::path::Path;

    /// Returns the seeds of a target.
    fn seeds(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds");
        let files = fs::read_dir(folder.join(target)).expect("a folder of seeds");
        let paths = files.map(|file| file.expect("a seed").path());
        paths.map(|path| fs::read(path).expect("a seed")).collect()
    }

    /// An input, which is printed in the notation of byte strings.
    struct Input(Vec<u8>);

    impl fmt::Debug for Input {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "b\"{}\"", self.0.escape_ascii())
        }
    }

    /// A change of an input.
    #[derive(Clone, Debug)]
    enum Edit {
        Replace(Index, u8),
        Insert(Index, Vec<u8>),
        /// Removes the range between the two positions.
        Remove(Index, Index),
        /// Repeats the range between the first two positions at the third.
        Copy(Index, Index, Index),
    }

    impl Edit {
        fn apply(self, input: &mut Vec<u8>) {
            let at = |index: Index| index.index(input.len() + 1);
            let range = |from, to| at(from).min(at(to))..at(from).max(at(to));
            match self {
                Self::Replace(index, byte) => {
                    let at = at(index);
                    if let Some(old) = input.get_mut(at) {
                        *old = byte;
                    }
                }
                Self::Insert(index, bytes) => {
                    let at = at(index);
                    input.splice(at..at, bytes);
                }
                Self::Remove(from, to) => {
                    input.drain(range(from, to));
                }
                Self::Copy(from, to, index) => {
                    let (copied, at) = (input[range(from, to)].to_vec(), at(index));
                    input.splice(at..at, copied);
                }
            }
        }
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let position = any::<Index>;
        // Characters that mean something to one of the parsers.
        let byte = || {
            prop_oneof![
                any::<u8>(),
                select(b"\r\n$:*+-_%>~|,#=(!0123456789\"\\{}[]@/?. ".to_vec())
            ]
        };
        prop_oneof![
            (position(), byte()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
            (position(), vec(byte(), 1..4)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
            (position(), position()).prop_map(|(from, to)| Edit::Remove(from, to)),
            (position(), position(), position())
                .prop_map(|(from, to, at)| Edit::Copy(from, to, at)),
        ]
    }

    /// Generates inputs: seeds with a few edits, now and then with another seed behind it.
    fn input(target: &str) -> impl Strategy<Value = Input> + use<> {
        let seeds = seeds(target);
        let second = prop_oneof![3 => Just(Vec::new()), 1 => select(seeds.clone())];
        (select(seeds), second, vec(edit(), 0..6)).prop_map(|(mut input, second, edits)| {
            input.extend(second);
            edits.into_iter().for_each(|edit| edit.apply(&mut input));
            Input(input)
        })
    }

    macro_rules! targets {
        ($($target:ident),*) => { $(
            #[test]
            fn $target() {
                seeds(stringify!($target)).iter().for_each(|seed| super::$target::run(seed));
                proptest!(super::config(), |(input in input(stringify!($target)))| super::$target::run(&input.0));
            }
        )* };
    }

    targets!(codec, compare_and_set, expiry, slot_map, url);
}
