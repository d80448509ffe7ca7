//! Issuers: who signs tokens, what has to stand in them, and what they are
//! worth.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use firmseal_fleet::{Caller, Time};
use serde_json::Value;

use crate::claims::Claims;
use crate::error::{SettingsError, TokenError};
use crate::jwks::Jwks;
use crate::settings::IdentitySettings;
use crate::token::Unverified;

/// An issuer whose settings are in order.
#[derive(Clone, Debug)]
pub struct Issuer {
    settings: IdentitySettings,
}

/// What a good token is worth.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Who asks.
    pub caller: Caller,
    /// Set where the token is good for one change.
    pub once: Option<TokenUse>,
}

/// What is remembered of a token that is good for one change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenUse {
    /// The hash of what its issuer signed, issuer and all. Not every issuer
    /// writes ids (`jti`), and a token cannot be written in another way that
    /// its signature covers.
    pub id: [u8; 32],
    /// From when on it is refused in any case.
    pub ends: Time,
}

impl Issuer {
    /// Checks the settings.
    pub fn new(settings: IdentitySettings) -> Result<Issuer, SettingsError> {
        settings.check()?;
        Ok(Issuer { settings })
    }

    /// What it was made from.
    pub fn settings(&self) -> &IdentitySettings {
        &self.settings
    }

    /// Checks a token and says who shows it. Everything before the signature
    /// is checked in the order of how cheap it is; nothing of it is an
    /// answer that would not hold for a forged token as well.
    pub fn verify(&self, token: &Unverified, keys: &Jwks, now: Time) -> Result<Verified, TokenError> {
        let settings = &self.settings;
        if token.issuer()? != settings.issuer {
            return Err(TokenError::UnknownIssuer);
        }
        if !settings.algorithms.contains(&token.algorithm) {
            return Err(TokenError::Algorithm);
        }
        // Explicit types keep tokens of one use from being taken for
        // another (RFC 8725 §3.11).
        if let Some(kind) = &token.kind {
            let kind = kind.strip_prefix("application/").unwrap_or(kind);
            if !settings.types.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
                return Err(TokenError::Malformed("it is of another type"));
            }
        }
        keys.verify(token)?;
        let claims = Claims(&token.claims);
        self.audience(&token.claims)?;
        let ends = self.ends(&token.claims, now)?;
        // A logout token is signed by the same key for the same audience
        // (OpenID Connect Back-Channel Logout 1.0 §2.4), and signs nobody in.
        if token.claims.contains_key("events") {
            return Err(TokenError::Malformed("it is of another type"));
        }
        let subject = claims.kept("sub").filter(|subject| !subject.is_empty());
        let subject = subject.ok_or(TokenError::Malformed("it names no subject"))?;
        let once = settings.is_single_use().then(|| TokenUse { id: hash(&token.signed), ends });
        let grant = settings.grant.iter().find(|grant| grant.fits(&claims)).ok_or(TokenError::NoGrant)?;
        let name = grant.name.fill(|claim| claims.one(claim)).ok_or(TokenError::NoGrant)?;
        let mut kept =
            BTreeMap::from([("issuer".to_owned(), settings.issuer.clone()), ("subject".to_owned(), subject)]);
        for (ours, theirs) in &settings.claims {
            if let Some(value) = claims.kept(theirs) {
                kept.insert(ours.clone(), value);
            }
        }
        let caller = Caller {
            name,
            kind: settings.kind.into(),
            team: grant.team.clone(),
            roles: grant.roles.clone(),
            claims: kept,
            scope: grant.scope.clone(),
            source: None,
        };
        Ok(Verified { caller, once })
    }

    /// Every audience must be one of ours: "The ID Token MUST be rejected if
    /// [it] contains additional audiences not trusted by the Client" (OpenID
    /// Connect Core 1.0 §3.1.3.7). Whoever else it is for could show it here.
    fn audience(&self, claims: &serde_json::Map<String, Value>) -> Result<(), TokenError> {
        let ours = |value: &Value| value.as_str().is_some_and(|text| self.settings.audience.contains(text));
        let good = match claims.get("aud") {
            Some(Value::Array(all)) => !all.is_empty() && all.iter().all(ours),
            Some(one) => ours(one),
            None => false,
        };
        // Who asked for it, where that is said, was one of ours as well.
        let asked = claims.get("azp").is_none_or(ours);
        if good && asked { Ok(()) } else { Err(TokenError::Audience) }
    }

    /// From when on it is refused.
    fn ends(&self, claims: &serde_json::Map<String, Value>, now: Time) -> Result<Time, TokenError> {
        let seconds = |name: &'static str, absent| match claims.get(name).map(Value::as_f64) {
            None => Ok(None),
            Some(Some(value)) if (0.0..4e12).contains(&value) => Ok(Some(value as u64)),
            Some(_) => Err(TokenError::Malformed(absent)),
        };
        let exp = seconds("exp", "its end is not a time")?;
        let iat = seconds("iat", "its beginning is not a time")?;
        let (Some(exp), Some(iat)) = (exp, iat) else {
            return Err(TokenError::Malformed("it does not say when it was made or when it ends"));
        };
        let nbf = seconds("nbf", "its beginning is not a time")?.unwrap_or(iat);
        let (now, leeway) = (now.millis() / 1000, self.settings.leeway_seconds);
        if now >= exp + leeway {
            return Err(TokenError::Expired);
        }
        if now + leeway < nbf.max(iat) {
            return Err(TokenError::Early);
        }
        let (have, most) = (exp.saturating_sub(iat), self.settings.longest_seconds);
        if have == 0 || have > most {
            return Err(TokenError::TooLong { have, most });
        }
        Ok(Time::from_millis((exp + leeway) * 1000))
    }
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    let mut id = [0; 32];
    id.copy_from_slice(digest(&SHA256, bytes).as_ref());
    id
}
