//! Looking at a file before agreeing to its signature: it is fetched, hashed
//! and read here, and what a key would sign of it is derived here.

use std::io::Write;

use firmseal_api::client::Client;
use firmseal_api::keys::SigningKey;
use firmseal_api::signatures::{Review, SignatureRequest, SignatureState};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::evidence::holder_id;
use firmseal_core::{KeyId, Root, StatementPurpose};
use firmseal_fleet::{Caller, Priority, Time};
use firmseal_formats::{Inspection, Wanted, lay_out};
use firmseal_manifest::{PublicKey, Statement};
use firmseal_sign::{ArtifactWish, gate};

use super::look::lies;
use crate::bundle_file::said;
use crate::download::Incoming;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::record::plain;

/// A request for a signature that waits, and what its approvers agree to.
pub(super) struct Waits<'a> {
    pub(super) told: &'a SignatureRequest,
    review: &'a Review,
}

impl<'a> Waits<'a> {
    /// The request, if it waits for people.
    pub(super) fn new(told: &'a SignatureRequest) -> Result<Waits<'a>> {
        match &told.review {
            Some(review) if told.state == SignatureState::Waiting => Ok(Waits { told, review }),
            _ => {
                let state = format!("{:?}", told.state).to_lowercase();
                let what = format_args!("the request is {state} and waits for nobody's approval");
                Err(CliError::new(Kind::Conflict, what))
            }
        }
    }

    /// Reads everything that the signature will be about, and says what an
    /// approver signs. Nothing in the request is believed.
    pub(super) async fn look(&self, client: &Client, root: &Root<'_>, output: &Output) -> Result<Statement> {
        let Waits { told, review } = *self;
        let operator = client.operator();
        let product = operator.product(&told.product).await?;
        let key = self.signer(&operator.keys().await?.items)?;
        let format = firmseal_formats::find(&product.format)?;

        let size = operator.artifact(told.artifact).await?.size;
        output.note(format_args!("reading the file: {size} bytes"));
        let path = format!("/v1/signatures/{}/artifact", told.id);
        let (mut incoming, mut copy) = (Incoming::new(client, path, size), tempfile::tempfile()?);
        while let Some(piece) = incoming.piece().await? {
            copy.write_all(&piece)?;
        }
        if incoming.digest() != told.artifact.0 {
            return Err(lies("the file"));
        }
        let parameters =
            told.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let wanted =
            Wanted { version: told.version.clone(), epoch: told.epoch, key: &key, parameters: &parameters };
        let laid_out = lay_out(format, &copy, &wanted)?;
        if laid_out.tbs.fingerprint() != review.tbs.0 {
            return Err(lies("what will be signed of the file"));
        }
        if laid_out.inspection.digest() != review.header.0 {
            return Err(lies("what the file says of itself"));
        }
        if self.asked().fingerprint() != review.asked.0 {
            return Err(lies("what was asked for"));
        }
        // Shown is a name, signed a digest: whoever asked must be the same.
        if review.requester_id.0 != holder_id(&told.requester, &RustCrypto) {
            return Err(lies("who asked for it"));
        }
        self.show(&laid_out.inspection, output);
        Ok(Statement {
            purpose: StatementPurpose::Artifact,
            environment: root.environment(),
            lineage: *root.lineage(),
            request: told.id,
            manifest: laid_out.tbs.fingerprint(),
            signers: vec![KeyId(review.signer.0)],
            previous: None,
            expiry: review.expiry,
            header: laid_out.inspection.digest(),
            difference: review.asked.0,
            policy: review.policy.0,
            requester: review.requester_id.0,
        })
    }

    /// The public half of the key that will sign. Its id is computed from it.
    fn signer(&self, keys: &[SigningKey]) -> Result<PublicKey> {
        let signer = self.review.signer.to_string();
        let known = keys.iter().find(|key| key.id == signer).ok_or_else(|| lies("the key that will sign"))?;
        let key = PublicKey::from_text(&known.public)?;
        if key.id().0 == self.review.signer.0 { Ok(key) } else { Err(lies("the key that will sign")) }
    }

    /// The request in the form whose fingerprint approvers sign.
    fn asked(&self) -> ArtifactWish {
        use firmseal_api::signatures::Priority as Told;
        let told = self.told;
        ArtifactWish {
            key: None,
            caller: Caller::local(told.requester.clone()),
            product: told.product.clone(),
            channel: told.channel.clone(),
            artifact: told.artifact,
            signing_key: told.asked_key.clone(),
            version: told.version.clone(),
            epoch: told.epoch,
            parameters: told.parameters.clone(),
            build: told.build.clone(),
            commit: told.commit.clone(),
            evidence: told.evidence.clone(),
            priority: match told.priority {
                Told::Emergency => Priority::Emergency,
                Told::Release => Priority::Release,
                Told::Nightly => Priority::Nightly,
            },
            deadline: told.deadline,
        }
    }

    fn show(&self, inspection: &Inspection, output: &Output) {
        let Waits { told, review } = *self;
        let line = |name: &str, text: &dyn std::fmt::Display| {
            output.note(format_args!("{name:<12}{}", plain(&text.to_string())));
        };
        line("product", &told.product);
        line("version", &format_args!("{} on {}", told.version, told.channel));
        line("epoch", &told.epoch);
        line("file", &told.artifact);
        line("reads", &said(inspection));
        for (name, value) in &told.parameters {
            // Of a certificate nobody reads the text; `sha256sum` of the file
            // that it should be tells whether it is that. All of it counts.
            let shown = match value.len() > 120 {
                true => format!("{} bytes, SHA-256 {}", value.len(), RustCrypto.digest(value.as_bytes())),
                false => value.clone(),
            };
            line("parameter", &format_args!("{name}={shown}"));
        }
        for document in &told.evidence {
            line("evidence", document);
        }
        line("requester", &told.requester);
        if !(told.build.is_empty() && told.commit.is_empty()) {
            line("build", &format_args!("{} of {}", told.build, told.commit));
        }
        line("signs", &format_args!("{} ({})", review.signer, told.key));
        let own = match review.policy.0 == gate::policy() {
            true => "the rules of this program",
            false => "rules unknown here",
        };
        line("policy", &format_args!("{} ({own})", review.policy));
        line("expires", &Time::from_millis(review.expiry.saturating_mul(1000)));
    }
}
