//! Callers: who asks the service for something, as it was proven.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use firmseal_manifest::{ChannelName, Digest, ProductId, holder_id, scope_id};
use serde::{Deserialize, Serialize};

use crate::Role;

/// How a caller proved who it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// A person, signed in at an identity provider (OpenID Connect).
    Person,
    /// A CI job, by the workload token that its platform gave it.
    Workload,
    /// Whoever holds a token of this server's.
    Token,
    /// Whoever holds the key of a client certificate.
    Certificate,
    /// Whoever works on the place's own machine, by leave of its file
    /// system: offline signing.
    Local,
}

impl CallerKind {
    /// The word in records and policies.
    pub fn as_str(self) -> &'static str {
        match self {
            CallerKind::Person => "person",
            CallerKind::Workload => "workload",
            CallerKind::Token => "token",
            CallerKind::Certificate => "certificate",
            CallerKind::Local => "local",
        }
    }
}

/// Who asks. Everything here was verified before this value was made:
/// policy may decide on it, and records keep it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Caller {
    /// The name that records show: one caller, one name.
    pub name: String,
    /// How it was proven.
    pub kind: CallerKind,
    /// The team that answers for it, and whose share of the service it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// What else its proof says: `issuer`, `repository`, `ref`, `workflow`,
    /// by the names that the configuration gives them. Empty for tokens and
    /// certificates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// What it is confined to.
    #[serde(default, skip_serializing_if = "Scope::is_open")]
    pub scope: Scope,
    /// The address at the other end of the connection, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
}

impl Caller {
    /// Whoever works on this machine, by the name of the account.
    pub fn local(name: impl Into<String>) -> Caller {
        Caller {
            name: name.into(),
            kind: CallerKind::Local,
            team: None,
            roles: [Role::Signer].into(),
            claims: BTreeMap::new(),
            scope: Scope::default(),
            source: None,
        }
    }

    /// What stands for it in the log.
    pub fn id(&self) -> Digest {
        holder_id(&self.name)
    }
}

/// What a caller is confined to. An empty set confines nothing.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// Only these products.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub products: BTreeSet<ProductId>,
    /// Only these channels.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub channels: BTreeSet<ChannelName>,
    /// Only these signing keys.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub keys: BTreeSet<String>,
}

impl Scope {
    /// Whether it confines nothing.
    pub fn is_open(&self) -> bool {
        self.products.is_empty() && self.channels.is_empty() && self.keys.is_empty()
    }

    /// What stands for it in the log; nothing, if it confines nothing.
    pub fn id(&self) -> Option<Digest> {
        let products = self.products.iter().map(ProductId::as_str).collect();
        let channels = self.channels.iter().map(ChannelName::as_str).collect();
        let keys = self.keys.iter().map(String::as_str).collect();
        (!self.is_open()).then(|| scope_id([products, channels, keys]))
    }

    /// Whether a product lies within it.
    pub fn takes_product(&self, product: &ProductId) -> bool {
        self.products.is_empty() || self.products.contains(product)
    }

    /// Whether a channel lies within it.
    pub fn takes_channel(&self, channel: &ChannelName) -> bool {
        self.channels.is_empty() || self.channels.contains(channel)
    }

    /// Whether another scope is no wider than this one.
    pub fn covers(&self, other: &Scope) -> bool {
        fn covers<T: Ord>(ours: &BTreeSet<T>, theirs: &BTreeSet<T>) -> bool {
            ours.is_empty() || (!theirs.is_empty() && theirs.is_subset(ours))
        }
        covers(&self.products, &other.products)
            && covers(&self.channels, &other.channels)
            && covers(&self.keys, &other.keys)
    }

    /// Whether a signing key lies within it.
    pub fn takes_key(&self, key: &str) -> bool {
        self.keys.is_empty() || self.keys.contains(key)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_scope_confines_nothing_and_any_other_does() {
        let (router, meter): (ProductId, ProductId) = ("router".parse().unwrap(), "meter".parse().unwrap());
        let open = Scope::default();
        assert!(open.is_open() && open.takes_product(&router) && open.takes_key("release"));
        assert_eq!(open.id(), None, "it confines nothing");
        let one = Scope { products: [router.clone()].into(), ..Scope::default() };
        assert!(one.takes_product(&router) && !one.takes_product(&meter) && !one.is_open());
        let two = Scope { products: [router, meter].into(), ..Scope::default() };
        assert!(two.covers(&one) && !one.covers(&two) && !one.covers(&open) && open.covers(&one));
        let other = Scope { channels: ["beta".parse().unwrap()].into(), ..one.clone() };
        assert!(one.covers(&other) && !other.covers(&one));
        assert!(one.id().is_some() && one.id() != two.id() && one.id() != other.id());
        assert!(one.takes_channel(&"stable".parse().unwrap()), "it says nothing of channels");
    }
}
