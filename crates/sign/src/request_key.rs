//! Request keys: what makes two requests the same one.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::Digest;
use firmseal_manifest::cbor::Writer;

/// What a request is recognised by when it comes again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestKey<'a> {
    /// A requester's own idempotency key for an order.
    Chosen {
        /// The requester's name.
        requester: &'a str,
        /// The key, as it was sent.
        key: &'a str,
    },
    /// An order without a key: the order itself.
    Order(Digest),
    /// An envelope that was signed elsewhere.
    Import(Digest),
}

impl RequestKey<'_> {
    /// The key as the store keeps it: a digest of kind and parts, each with
    /// its length. Joining them with a character lost: a requester may have
    /// it in the name, and would then ask under another one's key, or under
    /// a key of another kind.
    pub fn stored(&self) -> String {
        let mut out = Writer::new();
        match self {
            RequestKey::Chosen { requester, key } => out.array(3).text("chosen").text(requester).text(key),
            RequestKey::Order(digest) => out.array(2).text("order").bytes(digest.as_bytes()),
            RequestKey::Import(digest) => out.array(2).text("import").bytes(digest.as_bytes()),
        };
        RustCrypto.digest(&out.finish()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_that_of_another_kind_or_requester() {
        let digest = Digest([7; 32]);
        let hex = digest.to_string();
        let chosen = |requester, key| RequestKey::Chosen { requester, key };
        let keys = [
            RequestKey::Order(digest),
            RequestKey::Import(digest),
            RequestKey::Order(Digest([8; 32])),
            chosen("order", &hex),
            chosen("import", &hex),
            chosen("a:b", "c"),
            chosen("a", "b:c"),
            chosen("ab", "c"),
            chosen("a", "bc"),
            chosen("", "abc"),
        ];
        let stored: std::collections::BTreeSet<_> = keys.iter().map(RequestKey::stored).collect();
        assert_eq!(stored.len(), keys.len());
        assert_eq!(chosen("ci", "1").stored(), chosen("ci", "1").stored());
    }
}
