//! What a root document changes against the one before it, for people who
//! are asked to sign or publish it.

use std::collections::BTreeMap;
use std::fmt;

use firmseal_core::{Demands, Role};
use firmseal_manifest::{ChannelName, KeyId, ProductId};

use crate::revoke::name;
use crate::root::{RoleSpec, RootSpec};

/// Whom an entry is for: a role, and the products and channels it is limited
/// to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    role: u64,
    products: Vec<ProductId>,
    channels: Vec<ChannelName>,
    name: &'static str,
}

impl Entry {
    /// The entry that a role stands for.
    pub fn of(role: &RoleSpec) -> Entry {
        Entry::new(role.role, role.products.clone(), role.channels.clone())
    }

    /// The entry for a role, some products and some channels.
    pub fn new(role: Role, mut products: Vec<ProductId>, mut channels: Vec<ChannelName>) -> Entry {
        products.sort();
        channels.sort();
        Entry { role: role as u64, products, channels, name: name(role) }
    }

    /// Whether it is for some products or channels of what another entry of
    /// the same role is for.
    pub fn is_part_of(&self, general: &RoleSpec) -> bool {
        self.role == general.role as u64 && !(self.products.is_empty() && self.channels.is_empty())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        f.write_str(&of_products(&self.products))?;
        f.write_str(&on_channels(&self.channels))
    }
}

/// ` on a, b`, or nothing for every channel.
pub fn on_channels(channels: &[ChannelName]) -> String {
    if channels.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = channels.iter().map(ChannelName::as_str).collect();
    format!(" on {}", names.join(", "))
}

/// ` for a, b`, or nothing for every product.
pub fn of_products(products: &[ProductId]) -> String {
    if products.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = products.iter().map(ProductId::as_str).collect();
    format!(" for {}", names.join(", "))
}

/// `, each with both kinds of keys`, or nothing where any key does.
pub const fn of_both(demanded: bool) -> &'static str {
    if demanded { ", each with both kinds of keys" } else { "" }
}

/// Demands in words.
pub fn demands(demands: &Demands) -> String {
    let Demands { proof, approvals, delegation, owner } = *demands;
    let all = [(proof, "log proof"), (approvals, "approvals"), (delegation, "delegation"), (owner, "owner")];
    let said: Vec<&str> = all.into_iter().filter_map(|(said, word)| said.then_some(word)).collect();
    if said.is_empty() { "signatures only".to_owned() } else { said.join(", ") }
}

/// One difference.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A role is new, or gone.
    Role(Entry, bool),
    /// A holder is new in a role, or gone from it.
    Holder(Entry, String, bool),
    /// A holder got a key in a role, or lost it.
    Key(Entry, String, KeyId, bool),
    /// A role's threshold.
    Threshold(Entry, u64, u64),
    /// A role demands both kinds of keys of each holder, or not any more.
    BothKinds(Entry, bool),
    /// The lowest epoch for installs.
    MinimumEpoch(u64, u64),
    /// Something is demanded of some products that was not, or not any more.
    Demands(String, bool),
    /// A log was closed, or is no longer among the closed ones.
    ClosedLog(String, bool),
    /// Devices lower their sequence floor of a product, once.
    Reset(ProductId, u64),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |new: &bool| if *new { "+" } else { "-" };
        match self {
            Change::Role(entry, new) => write!(f, "{} role {entry}", sign(new)),
            Change::Holder(entry, holder, new) => write!(f, "{} {entry}: holder {holder}", sign(new)),
            Change::Key(entry, holder, key, new) => write!(f, "{} {entry}: key {key} of {holder}", sign(new)),
            Change::Threshold(entry, was, is) => write!(f, "~ {entry}: threshold {was} -> {is}"),
            Change::BothKinds(entry, new) => {
                write!(f, "{} {entry}: each holder signs with both kinds of keys", sign(new))
            }
            Change::MinimumEpoch(was, is) => write!(f, "~ lowest epoch for installs {was} -> {is}"),
            Change::Demands(said, new) => write!(f, "{} demands {said}", sign(new)),
            Change::ClosedLog(origin, new) => write!(f, "{} closed log {origin}", sign(new)),
            Change::Reset(product, sequence) => {
                write!(f, "! devices of {product} lower their sequence floor to {sequence}")
            }
        }
    }
}

/// Everything that `new` says otherwise than `old`, in a stable order.
pub fn changes(old: &RootSpec, new: &RootSpec) -> Vec<Change> {
    let mut out = Vec::new();
    let entries = |spec: &RootSpec| -> BTreeMap<Entry, RoleSpec> {
        spec.roles.iter().map(|role| (Entry::of(role), role.clone())).collect()
    };
    let (was, is) = (entries(old), entries(new));
    for (entry, role) in &was {
        match is.get(entry) {
            None => out.push(Change::Role(entry.clone(), false)),
            Some(now) => role_changes(entry, role, now, &mut out),
        }
    }
    for entry in is.keys().filter(|entry| !was.contains_key(entry)) {
        out.push(Change::Role(entry.clone(), true));
    }
    if old.minimum_epoch != new.minimum_epoch {
        out.push(Change::MinimumEpoch(old.minimum_epoch, new.minimum_epoch));
    }
    let said = |spec: &RootSpec| -> Vec<String> {
        let line =
            |own: &crate::DemandsSpec| format!("{}{}", demands(&own.demands), of_products(&own.products));
        spec.demands.iter().map(line).collect()
    };
    both(&said(old), &said(new), |said, added| out.push(Change::Demands(said.clone(), added)));
    let logs = |spec: &RootSpec| -> Vec<String> {
        spec.closed_logs.iter().map(|log| format!("{} at {} entries", log.origin, log.size)).collect()
    };
    both(&logs(old), &logs(new), |origin, added| out.push(Change::ClosedLog(origin.clone(), added)));
    // A reset acts when the document is adopted, whatever stood before.
    out.extend(new.sequence_resets.iter().map(|(product, to)| Change::Reset(product.clone(), *to)));
    out
}

fn role_changes(entry: &Entry, was: &RoleSpec, is: &RoleSpec, out: &mut Vec<Change>) {
    if was.threshold != is.threshold {
        out.push(Change::Threshold(entry.clone(), was.threshold, is.threshold));
    }
    if was.both_kinds != is.both_kinds {
        out.push(Change::BothKinds(entry.clone(), is.both_kinds));
    }
    let names = |role: &RoleSpec| role.holders.iter().map(|holder| holder.name.clone()).collect::<Vec<_>>();
    both(&names(was), &names(is), |name, added| out.push(Change::Holder(entry.clone(), name.clone(), added)));
    let keys = |role: &RoleSpec| -> Vec<(String, KeyId)> {
        let of = |holder: &crate::Holder| {
            holder.keys.iter().map(|key| (holder.name.clone(), key.id())).collect::<Vec<_>>()
        };
        role.holders.iter().flat_map(of).collect()
    };
    both(&keys(was), &keys(is), |(name, key), added| {
        out.push(Change::Key(entry.clone(), name.clone(), *key, added));
    });
}

/// Shows what is gone, then what is new.
fn both<T: PartialEq>(was: &[T], is: &[T], mut show: impl FnMut(&T, bool)) {
    was.iter().filter(|item| !is.contains(item)).for_each(|item| show(item, false));
    is.iter().filter(|item| !was.contains(item)).for_each(|item| show(item, true));
}

/// The roles of a document that hold a key, in its words: `release for a`.
pub fn roles_of(spec: &RootSpec, key: &KeyId) -> Vec<(Role, String)> {
    let holds = |role: &&RoleSpec| role.holders.iter().any(|h| h.keys.iter().any(|own| own.id() == *key));
    spec.roles.iter().filter(holds).map(|role| (role.role, Entry::of(role).to_string())).collect()
}
