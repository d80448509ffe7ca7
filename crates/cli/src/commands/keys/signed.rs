//! `firmseal keys signed`: what a server's key has signed that still counts.
//!
//! Before a key ends, this is what its successor has to sign again. Releases
//! and images are asked themselves: in them stands who signed.

use std::io::Write;
use std::path::Path;

use clap::Args;
use firmseal_api::client::Client;
use firmseal_api::fleet::RolloutState;
use firmseal_api::keys::SigningKey;
use firmseal_api::signatures::{SignatureQuery, SignatureState};
use firmseal_api::signing::{Release, ReleaseState};
use firmseal_core::{Digest, Envelope};
use firmseal_manifest::{ChannelName, KeyName, ProductId, PublicKey, ReleaseId};
use firmseal_sign::KeyPurpose;
use semver::Version;
use serde::Serialize;

use crate::commands::listing::all;
use crate::commands::release::fetch_envelope;
use crate::download::Incoming;
use crate::error::Result;
use crate::output::Output;
use crate::profile::Profile;

/// List what a key has signed that still counts
#[derive(Args)]
pub struct Signed {
    /// The key's name
    key: KeyName,
}

/// A release, or a file.
#[derive(Serialize)]
struct Row {
    /// The release, or the signing request of a file.
    id: String,
    /// `release`, `image` (in a release) or `file`.
    what: &'static str,
    product: ProductId,
    channel: ChannelName,
    version: Version,
    /// Keys that signed the same envelope.
    others: usize,
    /// Whether an active rollout offers it.
    offered: bool,
}

impl Signed {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let key = client.operator().key(&self.key, None, None).await?.key;
        let mut rows = releases(&client, &key).await?;
        rows.extend(files(&client, &key).await?);
        let headings = ["ID", "WHAT", "PRODUCT", "CHANNEL", "VERSION", "OTHER KEYS", "OFFERED"];
        output.table(&rows, &headings, |row| {
            vec![
                row.id.clone(),
                row.what.to_owned(),
                row.product.to_string(),
                row.channel.to_string(),
                row.version.to_string(),
                row.others.to_string(),
                if row.offered { "yes" } else { "-" }.to_owned(),
            ]
        })
    }
}

/// Releases that nobody took back, whose envelopes it signed, or an image in
/// them.
async fn releases(client: &Client, key: &SigningKey) -> Result<Vec<Row>> {
    let operator = client.operator();
    let active: Vec<ReleaseId> = all(async |page| operator.rollouts(&page).await)
        .await?
        .into_iter()
        .filter(|rollout| rollout.state == RolloutState::Active)
        .map(|rollout| rollout.release)
        .collect();
    let public = PublicKey::from_text(&key.public)?;
    let mut rows = Vec::new();
    for release in all(async |page| operator.releases(None, &page).await).await? {
        if !matches!(release.state, ReleaseState::Signed | ReleaseState::Verified) {
            continue;
        }
        let (what, others) = match key.purpose == KeyPurpose::Release.name() {
            true => ("release", beside(client, &release, key).await?),
            false => ("image", in_image(client, &release, &public).await?.then_some(0)),
        };
        if let Some(others) = others {
            rows.push(Row {
                id: release.id.to_string(),
                what,
                product: release.product,
                channel: release.channel,
                version: release.version,
                others,
                offered: active.contains(&release.id),
            });
        }
    }
    Ok(rows)
}

/// How many other keys signed a release's envelope; `None` if this one did
/// not.
async fn beside(client: &Client, release: &Release, key: &SigningKey) -> Result<Option<usize>> {
    let (_, envelope) = fetch_envelope(client, release.id).await?;
    let signers: Vec<String> = Envelope::decode(&envelope)?
        .signatures()
        .filter_map(|signature| signature.key_id().and_then(Digest::from_slice))
        .map(|id| id.to_string())
        .collect();
    Ok(signers.contains(&key.id).then(|| signers.len() - 1))
}

/// Whether an image of a release may carry a signature by the key. The image
/// itself is asked: the order does not say which key that was.
async fn in_image(client: &Client, release: &Release, key: &PublicKey) -> Result<bool> {
    let product = client.operator().product(&release.product).await?;
    let format = firmseal_formats::find(&product.format)?;
    if format.embedding().is_none() {
        return Ok(false);
    }
    for component in &release.components {
        let path = format!("/payloads/{}", component.payload);
        let mut incoming = Incoming::new(client, path, component.size);
        let mut copy = tempfile::tempfile()?;
        while let Some(piece) = incoming.piece().await? {
            copy.write_all(&piece)?;
        }
        if format.inspect(&copy)?.signatures.iter().any(|signature| signature.claim.admits(key)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Files that it signed itself: requests for the same bytes are one.
async fn files(client: &Client, key: &SigningKey) -> Result<Vec<Row>> {
    let signed = all(async |page| {
        let query = SignatureQuery {
            state: Some(SignatureState::Signed),
            after: page.after,
            limit: page.limit,
            ..SignatureQuery::default()
        };
        client.operator().signatures(&query).await
    });
    let mut rows: Vec<Row> = Vec::new();
    for request in signed.await? {
        // In whose queue it stood is not who signed: another key may have
        // stood in.
        let own = request.signature.as_ref().filter(|own| own.key_id.to_string() == key.id);
        if let Some(id) = own.map(|own| own.request.to_string())
            && !rows.iter().any(|row| row.id == id)
        {
            rows.push(Row {
                id,
                what: "file",
                product: request.product,
                channel: request.channel,
                version: request.version,
                others: 0,
                offered: false,
            });
        }
    }
    Ok(rows)
}
