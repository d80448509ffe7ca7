//! Word codes: a digest that people can read to each other.

use std::fmt;

use bip39::Language;
use firmseal_manifest::Digest;

/// Words in a code.
///
/// Eight words of 11 bits are 88. Whoever tampers with a request on its way
/// must find another one with the same code: 2^88 attempts at a second
/// preimage. Five words, 2^55, are a week's work of rented graphics cards.
/// Whoever writes the request could look for two with one code in 2^44,
/// which is feasible; it wins them nothing, since each custodian sees and
/// signs one of the two, and signatures over one do not count for the other.
pub const WORDS: usize = 8;

/// The first bits of a digest, in words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WordCode([&'static str; WORDS]);

impl WordCode {
    /// The code of a digest: 11 bits to a word, from the first on, in
    /// BIP-39's English list. Its words differ in their first four letters.
    pub fn of(digest: &Digest) -> WordCode {
        let list = Language::English.word_list();
        let bit = |at: usize| usize::from(digest.as_bytes()[at / 8] >> (7 - at % 8) & 1);
        let word = |index: usize| (index * 11..index * 11 + 11).fold(0, |value, at| value << 1 | bit(at));
        WordCode(std::array::from_fn(|index| list[word(index)]))
    }

    /// Whether these are the words, however they are spaced and whatever
    /// their case. All of them: a code of which three words are compared
    /// has three words.
    pub fn matches(&self, said: &str) -> bool {
        let said: Vec<String> = said.split_whitespace().map(str::to_lowercase).collect();
        said == self.0
    }
}

impl fmt::Display for WordCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl fmt::Debug for WordCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_first_88_bits() {
        let mut bytes = [0xff; 32];
        let zoo = WordCode::of(&Digest(bytes));
        assert_eq!(zoo.to_string(), "zoo zoo zoo zoo zoo zoo zoo zoo");
        bytes[11..].fill(0);
        assert_eq!(WordCode::of(&Digest(bytes)), zoo, "what comes after does not count");
        bytes[10] = 0xfe;
        assert_eq!(WordCode::of(&Digest(bytes)).to_string(), "zoo zoo zoo zoo zoo zoo zoo zone");
        assert_eq!(WordCode::of(&Digest([0; 32])).to_string(), ["abandon"; WORDS].join(" "));
    }

    #[test]
    fn all_the_words_are_compared() {
        let code = WordCode::of(&Digest([0; 32]));
        assert!(code.matches(&["Abandon"; WORDS].join("  ")));
        for said in ["", "abandon", &["abandon"; WORDS - 1].join(" "), &["abandon"; WORDS + 1].join(" ")] {
            assert!(!code.matches(said), "{said}");
        }
    }
}
