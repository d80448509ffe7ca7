//! Warnings: what a request does that weakens trust, said in whole
//! sentences before anybody signs.

use firmseal_core::{Demands, Environment, Role, Root};
use firmseal_manifest::ProductId;

use super::{Kind, Request};
use crate::change::{Change, Entry, changes, of_products};
use crate::root::{RootError, RootSpec};

/// What a custodian must not overlook. Empty where nothing is weakened.
pub fn warnings(request: &Request) -> Result<Vec<String>, RootError> {
    let mut out = Vec::new();
    if let Some(new) = request.root() {
        match request.under() {
            Some(before) => {
                let before = Root::decode(before)?;
                against(&before, &RootSpec::of(&before)?, new, request.document(), &mut out)?;
            }
            None => alone(new, request.document(), &mut out)?,
        }
    }
    if let Some(revocation) = request.revocation() {
        for entry in &revocation.keys {
            if entry.last_good.is_empty() && entry.allowed.is_empty() {
                out.push(format!("NOTHING THAT KEY {} EVER SIGNED INSTALLS ANY MORE", entry.key));
            }
        }
    }
    if request.kind() == Kind::Recovery {
        out.push(
            "RECOVERY: a device on which nothing boots, or in front of which somebody stands, installs this \
             without log, approvals and sequence number"
                .to_owned(),
        );
    }
    if let Some(release) = request.release()
        && release.rollback_of.is_some()
    {
        out.push("SIGNED AHEAD: whoever holds it and a revocation of that release can roll back".to_owned());
    }
    Ok(out)
}

fn alone(new: &RootSpec, document: &[u8], out: &mut Vec<String>) -> Result<(), RootError> {
    if new.environment != Environment::Production {
        return Ok(());
    }
    let demands = Root::decode(document)?.demands("");
    if !demands.proof {
        out.push("PRODUCTION WITHOUT LOG PROOFS: a stolen release key signs unseen".to_owned());
    }
    if !demands.approvals {
        out.push("PRODUCTION WITHOUT APPROVALS: one release key suffices".to_owned());
    }
    for role in new.roles.iter().filter(|role| role.role == Role::Root && role.threshold == 1) {
        out.push(format!("ONE OF {} ROOT HOLDERS CAN REPLACE EVERYTHING", role.holders.len()));
    }
    Ok(())
}

fn against(
    before: &Root<'_>,
    old: &RootSpec,
    new: &RootSpec,
    document: &[u8],
    out: &mut Vec<String>,
) -> Result<(), RootError> {
    for change in changes(old, new) {
        match change {
            Change::Threshold(entry, was, is) if is < was => {
                out.push(format!("THRESHOLD LOWERED: {entry} from {was} to {is}"));
            }
            Change::BothKinds(entry, false) => {
                out.push(format!("ONE KIND OF KEY SUFFICES: {entry} no longer needs both of each holder"));
            }
            Change::Role(entry, false) => out.push(format!("ROLE REMOVED: {entry}")),
            Change::Role(entry, true) if !general(old, &entry) => {
                out.push(format!("A ROLE OF ITS OWN TAKES OVER: {entry}"));
            }
            Change::Holder(entry, holder, false) => {
                out.push(format!("HOLDER REMOVED: {holder} from {entry}"));
            }
            Change::MinimumEpoch(was, is) if is < was => {
                out.push(format!("LOWEST EPOCH LOWERED: from {was} to {is}, old weaknesses install again"));
            }
            Change::ClosedLog(log, false) => {
                out.push(format!("CLOSED LOG FORGOTTEN: {log}; what was born in it proves nothing any more"));
            }
            Change::Reset(product, to) => {
                out.push(format!("SEQUENCE RESET: devices of {product} take {to} and up again"));
            }
            _ => {}
        }
    }
    let next = Root::decode(document)?;
    let mut named: Vec<&ProductId> =
        [old, new].into_iter().flat_map(|spec| spec.demands.iter().flat_map(|own| &own.products)).collect();
    named.sort();
    named.dedup();
    dropped(before.demands(""), next.demands(""), "", out);
    for product in named {
        let of = of_products(std::slice::from_ref(product));
        dropped(before.demands(product.as_str()), next.demands(product.as_str()), &of, out);
    }
    Ok(())
}

/// Whether no entry for all products stood before for a role that now gets
/// one: then nothing is taken over.
fn general(old: &RootSpec, entry: &Entry) -> bool {
    let all = |role: &crate::RoleSpec| role.products.is_empty() && role.channels.is_empty();
    !old.roles.iter().any(|role| all(role) && entry.is_part_of(role))
}

fn dropped(was: Demands, is: Demands, of: &str, out: &mut Vec<String>) {
    for (was, is, what) in [
        (was.proof, is.proof, "log proofs"),
        (was.approvals, is.approvals, "approvals"),
        (was.delegation, is.delegation, "delegations"),
        (was.owner, is.owner, "the owner's consent"),
    ] {
        if was && !is {
            out.push(format!("DEMAND DROPPED: {what}{of}"));
        }
    }
}
