//! `firmseal revoke key`: a key that was stolen, lost or retired.

use std::path::Path;
use std::str::FromStr;

use clap::Args;
use firmseal_api::client::Client;
use firmseal_manifest::ids::parse_digest;
use firmseal_manifest::{Digest, KeyId, ReleaseId};
use firmseal_trust::RevokedKey;
use serde_json::json;

use super::author::Author;
use super::strands;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::profile::Profile;

/// Write the revocation that takes a key away
///
/// What it signed before it was stolen may stay valid: up to an index of a
/// log, where the root demands log proofs, and releases by name. Devices that
/// could then be reached by nobody, or that run what nobody else has signed,
/// are named, and have to be left behind in so many words.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal revoke key 4f1c… --last-good 812@log.example/1 -o request.cbor
  firmseal revoke key 4f1c… --allow rel-0197c0de-0000-7000-8000-000000000001 \\
    --key pkcs11:token=duty --secret prompt --anchor root.cbor --log revocations -o rev.cbor
  firmseal revoke key 4f1c… --strand 3 -o request.cbor")]
pub struct Key {
    /// The key's id; `firmseal root show` lists them
    #[arg(value_name = "KEYID", value_parser = key_id)]
    id: KeyId,
    /// Keep what stands in a log up to this index; give it again for others
    #[arg(long, value_name = "INDEX@ORIGIN")]
    last_good: Vec<LastGood>,
    /// Keep this release, by its id or manifest digest; give it again for more
    #[arg(long, value_name = "MANIFEST")]
    allow: Vec<Allowed>,
    /// Go on although so many devices still need the key
    #[arg(long, value_name = "N", default_value_t = 0)]
    strand: usize,
    #[command(flatten)]
    author: Author,
}

fn key_id(text: &str) -> std::result::Result<KeyId, String> {
    parse_digest(text).map(KeyId).ok_or_else(|| "a key id has 64 lower-case hex digits".to_owned())
}

/// The last index of a log that stays valid.
#[derive(Clone)]
struct LastGood {
    index: u64,
    origin: String,
}

impl FromStr for LastGood {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<LastGood, String> {
        let (index, origin) = text.split_once('@').unwrap_or_default();
        match (index.parse(), origin.is_empty()) {
            (Ok(index), false) => Ok(LastGood { index, origin: origin.to_owned() }),
            _ => Err("write it as INDEX@ORIGIN, as in 812@log.example/1".to_owned()),
        }
    }
}

/// A release that stays valid.
#[derive(Clone)]
enum Allowed {
    Manifest(Digest),
    Release(ReleaseId),
}

impl FromStr for Allowed {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Allowed, String> {
        let release = || text.parse().ok().map(Allowed::Release);
        parse_digest(text)
            .map(Allowed::Manifest)
            .or_else(release)
            .ok_or_else(|| "name a release by `rel-…` or by the 64 hex digits of its manifest".to_owned())
    }
}

impl Allowed {
    async fn manifest(&self, client: &Client) -> Result<Digest> {
        match self {
            Allowed::Manifest(digest) => Ok(*digest),
            Allowed::Release(id) => Ok(client.operator().release(*id).await?.manifest.0),
        }
    }
}

impl Key {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let mut draft = self.author.draft(&client).await?;
        let mut allowed = Vec::new();
        for named in &self.allow {
            allowed.push(named.manifest(&client).await?);
        }
        let last_good = self.last_good.iter().map(|good| (good.origin.clone(), good.index)).collect();
        if !strands::known(&draft, &self.id)? {
            output.note(format_args!("key {} stands in no root document of this server", self.id));
        }
        draft.spec.take_key(RevokedKey { key: self.id, last_good, allowed })?;
        let left = strands::find(&client, &draft).await?;
        if left.len() != self.strand {
            left.name(output);
            let (count, told) = (left.len(), self.strand);
            let message = match told {
                0 => format!("{count} devices still need what would be taken away"),
                _ => format!("{count} devices still need what would be taken away, not {told}"),
            };
            let hint = match count {
                0 => "leave --strand away: nobody is left behind".to_owned(),
                _ => format!(
                    "get them to a newer root or release first, or leave them behind with --strand {count}"
                ),
            };
            return Err(CliError::new(Kind::Refused, message).hint(hint));
        }
        self.author.write(draft, json!({ "left_behind": left.json() }), output).await
    }
}
