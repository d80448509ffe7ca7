//! Settings of an identity provider, as they stand in a configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use firmseal_fleet::CallerKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::SettingsError;
use crate::grant::Grant;
use crate::strict;
use crate::token::Algorithm;

/// Where a provider says where its keys are, below the issuer's address
/// (OpenID Connect Discovery 1.0 §4).
pub const DISCOVERY: &str = ".well-known/openid-configuration";

/// Whose tokens they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// CI jobs'.
    Workload,
    /// People's, who signed in.
    Person,
}

impl From<Kind> for CallerKind {
    fn from(kind: Kind) -> CallerKind {
        match kind {
            Kind::Workload => CallerKind::Workload,
            Kind::Person => CallerKind::Person,
        }
    }
}

/// How people sign in: what `firmseal login` has to know. No secret: the
/// command line is a public client (RFC 6749 §2.1).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// The id under which the provider knows the command line.
    pub client_id: String,
    /// What to ask for besides `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
}

/// One identity provider.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentitySettings {
    /// The issuer, exactly as its tokens spell it.
    pub issuer: String,
    /// Whose tokens they are.
    pub kind: Kind,
    /// For whom tokens have to be: this server, by names of your choice.
    pub audience: BTreeSet<String>,
    /// How it signs.
    #[serde(default = "rs256")]
    pub algorithms: BTreeSet<Algorithm>,
    /// Where its keys are; found by discovery if absent.
    #[serde(default)]
    pub jwks: Option<String>,
    /// PEM file of the certificate authorities that vouch for its address.
    pub authority: PathBuf,
    /// Types of token (`typ`) that are taken besides none.
    #[serde(default = "jwt")]
    pub types: BTreeSet<String>,
    /// Which claims to keep on record and show policies: our name, theirs.
    #[serde(default)]
    pub claims: BTreeMap<String, String>,
    /// How far its clock may be off.
    #[serde(default = "half_a_minute")]
    pub leeway_seconds: u64,
    /// How long a token may be valid in all.
    #[serde(default = "one_hour")]
    pub longest_seconds: u64,
    /// How old keys are when they are fetched again.
    #[serde(default = "one_hour")]
    pub refresh_seconds: u64,
    /// How old keys may become while the provider cannot be reached.
    #[serde(default = "one_day")]
    pub stale_seconds: u64,
    /// Whether a token is good for one change only. If absent, workloads'
    /// are and people's are not.
    #[serde(default)]
    pub single_use: Option<bool>,
    /// How people sign in, for the kind `person`.
    #[serde(default)]
    pub sign_in: Option<SignIn>,
    /// Who gets what; the first one that fits decides.
    pub grant: Vec<Grant>,
}

fn rs256() -> BTreeSet<Algorithm> {
    [Algorithm::Rs256].into()
}

fn jwt() -> BTreeSet<String> {
    ["JWT".to_owned()].into()
}

fn half_a_minute() -> u64 {
    30
}

fn one_hour() -> u64 {
    3600
}

fn one_day() -> u64 {
    24 * 3600
}

impl IdentitySettings {
    /// Whether a token is good for one change only. A job makes one, and
    /// whoever copies its token out of a build log would make the next; a
    /// person makes many in a sitting.
    pub fn is_single_use(&self) -> bool {
        self.single_use.unwrap_or(self.kind == Kind::Workload)
    }

    /// What would make them useless or a door for anybody.
    pub fn check(&self) -> Result<(), SettingsError> {
        let fail = |why: &str, hint| Err(SettingsError::new(why, hint));
        for url in std::iter::once(&self.issuer).chain(&self.jwks) {
            if url.strip_prefix("https://").is_none_or(str::is_empty) {
                return fail("its addresses begin with https://", "keys from an open line are anybody's");
            }
        }
        if self.issuer.contains(['?', '#']) {
            return fail("an issuer has no query (OpenID Connect Discovery 1.0 §2)", "leave it out");
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            return fail(
                "no audience",
                "name this server as tokens must name it; a token for somebody else is not for us",
            );
        }
        if self.algorithms.is_empty() {
            return fail("no algorithm", "leave algorithms out to get RS256");
        }
        if self.leeway_seconds > 300 {
            return fail("leeway_seconds is at most 300", "set the clocks");
        }
        if !(60..=86_400).contains(&self.longest_seconds) {
            return fail("longest_seconds is 60 to 86400", "use tokens that live as long as a job does");
        }
        if self.refresh_seconds < 60 || self.stale_seconds < self.refresh_seconds {
            return fail(
                "refresh_seconds is at least 60, stale_seconds no less than that",
                "leave them out to get an hour and a day",
            );
        }
        if self.sign_in.is_some() && self.kind != Kind::Person {
            return fail("only people sign in", "leave sign_in out, or set kind = \"person\"");
        }
        if let Some(sign_in) = &self.sign_in
            && !self.audience.contains(&sign_in.client_id)
        {
            return fail(
                "people's tokens are for the client_id, which is not an audience",
                "add the client_id to audience",
            );
        }
        if self.grant.is_empty() {
            return fail("no grant, so nobody gets in", "add [[identity.grant]] tables");
        }
        if ["issuer", "subject"].iter().any(|name| self.claims.contains_key(*name)) {
            return fail("issuer and subject are kept in any case", "leave them out of claims");
        }
        self.grant.iter().try_for_each(Grant::check)
    }
}

/// What a provider says about itself (OpenID Connect Discovery 1.0 §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Discovery {
    /// Where its keys are.
    pub jwks: String,
    /// Where a sign-in by device code begins (RFC 8628 §4).
    pub device: Option<String>,
    /// Where it ends.
    pub token: Option<String>,
}

impl Discovery {
    /// Reads an answer. `None` if it is not that of this issuer: "The issuer
    /// value returned MUST be identical to the Issuer URL that was used as
    /// the prefix" (§4.3), or sends requests over an open line.
    pub fn read(issuer: &str, answer: &[u8]) -> Option<Discovery> {
        let members = strict::object(answer)?;
        if members.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return None;
        }
        let private = |name: &str| {
            let address = members.get(name).and_then(Value::as_str)?;
            address.starts_with("https://").then(|| address.to_owned())
        };
        Some(Discovery {
            jwks: private("jwks_uri")?,
            device: private("device_authorization_endpoint"),
            token: private("token_endpoint"),
        })
    }
}
