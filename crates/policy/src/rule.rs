//! Rules: one Cedar policy each, with what its annotations say of it.
//!
//! Cedar calls a rule a policy; here a policy is all of them together.

use cedar_policy::{Effect, Policy};

/// The rule that stands in the way where no permit applies.
pub const NO_PERMIT: &str = "no-permit";

/// Longest name of a rule, in bytes.
const ID_MAX: usize = 64;
/// Longest reason, in bytes.
const REASON_MAX: usize = 300;
/// Most approvals that a rule may demand: as many signatures as an envelope
/// carries at most.
const APPROVALS_MAX: u32 = 16;

/// What a rule asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// `permit`: it allows.
    Permit,
    /// `forbid`: nothing helps.
    Refuse,
    /// `@approvals("n") forbid`: it stands in the way until so many approvers
    /// have agreed.
    Approvals(u32),
    /// `@hold forbid`: it stands in the way until a person has looked.
    Hold,
}

/// A rule of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Its name, `@id`.
    pub id: String,
    /// What it says to people, `@reason`.
    pub reason: String,
    /// What it asks for.
    pub demand: Demand,
}

impl Rule {
    /// Reads the annotations. Each rule has a name and a reason, because
    /// whoever is refused is told both; one that nobody knows is refused,
    /// because `@aprovals("2")` would otherwise be lost.
    pub(crate) fn read(policy: &Policy) -> Result<Rule, String> {
        let (mut id, mut reason, mut demand) = (None, None, None);
        let forbids = policy.effect() == Effect::Forbid;
        for (name, value) in policy.annotations() {
            match name {
                "id" => id = Some(name_of(value)?),
                "reason" => reason = Some(reason_of(value)?),
                "approvals" | "hold" if !forbids => {
                    return Err(format!("`@{name}` belongs to a forbid: a permit demands nothing"));
                }
                "approvals" | "hold" if demand.is_some() => {
                    return Err("`@approvals` and `@hold` exclude each other: write two rules".to_owned());
                }
                "approvals" => demand = Some(Demand::Approvals(count(value)?)),
                "hold" if value.is_empty() => demand = Some(Demand::Hold),
                "hold" => return Err("`@hold` takes no value".to_owned()),
                other => {
                    return Err(format!("`@{other}` means nothing here; use id, reason, approvals and hold"));
                }
            }
        }
        let otherwise = if forbids { Demand::Refuse } else { Demand::Permit };
        Ok(Rule {
            id: id.ok_or("has no name; write `@id(\"a-name\")` in front of it")?,
            reason: reason.ok_or("gives no reason; write `@reason(\"words for people\")` in front of it")?,
            demand: demand.unwrap_or(otherwise),
        })
    }
}

fn name_of(value: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if value.is_empty() || value.len() > ID_MAX || !value.bytes().all(good) {
        return Err(format!(
            "`@id({value:?})`: a name has 1 to {ID_MAX} lower-case letters, digits and hyphens"
        ));
    }
    if value == NO_PERMIT {
        return Err(format!("`@id(\"{NO_PERMIT}\")` stands for what no rule permits; use another name"));
    }
    Ok(value.to_owned())
}

fn reason_of(value: &str) -> Result<String, String> {
    // It goes to terminals and into logs.
    if value.trim().is_empty() || value.len() > REASON_MAX || value.chars().any(char::is_control) {
        return Err(format!("`@reason` has 1 to {REASON_MAX} bytes without control characters"));
    }
    Ok(value.to_owned())
}

fn count(value: &str) -> Result<u32, String> {
    match value.parse() {
        Ok(count @ 1..=APPROVALS_MAX) => Ok(count),
        _ => Err(format!("`@approvals({value:?})`: give a number from 1 to {APPROVALS_MAX}")),
    }
}
