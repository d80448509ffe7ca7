//! What somebody hands in: a file, or an artifact that the registry has.

use std::path::PathBuf;
use std::str::FromStr;

use firmseal_api::client::Client;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::ArtifactId;
use serde::Serialize;

use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::upload::{Source, upload};

/// `FILE` or `SHA256`.
#[derive(Clone)]
pub enum Content {
    /// A file.
    File(PathBuf),
    /// What the registry has under this digest. A file of such a name is
    /// still reachable as `./SHA256`.
    Artifact(ArtifactId),
}

impl Content {
    /// The artifact, uploaded if it is a file.
    pub async fn there(&self, client: &Client, output: &Output) -> Result<ArtifactId> {
        match self {
            Content::Artifact(artifact) => Ok(*artifact),
            Content::File(path) => Ok(upload(client, Source::open(path)?, output).await?.id),
        }
    }

    /// Several, in their order.
    pub async fn all_there(all: &[Content], client: &Client, output: &Output) -> Result<Vec<ArtifactId>> {
        let mut there = Vec::new();
        for content in all {
            there.push(content.there(client, output).await?);
        }
        Ok(there)
    }
}

impl FromStr for Content {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Content, &'static str> {
        Ok(text.parse().map_or_else(|_| Content::File(text.into()), Content::Artifact))
    }
}

/// An idempotency key of everything that is asked for, so that a pipeline
/// that repeats a step gets what the first time made.
pub fn derived_key(wish: &impl Serialize) -> Result<String> {
    // Field by field in the order of the type: the same wish has one text.
    let text = serde_json::to_vec(wish).map_err(|error| CliError::new(Kind::Unexpected, error))?;
    Ok(format!("cli-{}", RustCrypto.digest(&text)))
}
