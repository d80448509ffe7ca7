//! `firmseal approve`: a person agrees to a release, or to the signature of
//! a file, with an own key.
//!
//! The server is asked for bytes and believed in nothing: manifest, payloads,
//! headers and differences are read here, and what is signed names what was
//! read here.

mod agreeing;
mod file;
mod look;
pub mod source;
mod ssh;

use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_api::client::Client;
use firmseal_api::requests::{Approve as Agree, RequestState, SigningRequest};
use firmseal_api::signatures::SignatureRequest;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{KeyId, Root, statement};
use firmseal_fleet::Time;
use firmseal_manifest::{ArtifactId, ChannelName, ProductId, RequestId, SignedStatement, Statement};
use firmseal_sign::{PipelineError, gate};
use serde::{Deserialize, Serialize};

pub use self::agreeing::Agreeing;
use self::look::{Seen, look, statement_of};
use self::source::Source;
use super::request::{self, Found};
use super::request_record;
use crate::error::{CliError, Kind, Result};
use crate::newfile;
use crate::output::Output;
use crate::profile::Profile;
use crate::record::{Record, plain};

/// Agree to a release or a signature that waits, after looking at its bytes
///
/// Fetches the manifest and every payload, or the file that is to be signed,
/// hashes and reads them here, and compares: what you sign names what this
/// program saw. Sign with a key file or token of your own, or with an SSH
/// key, also one in a security key or behind an agent. The key must be that
/// of an approver in the root document, and nobody approves the own request.
///
/// Releases without a network: `firmseal request export` copies all of it
/// into a folder, `--from` reads it there and writes the approval into a
/// file, and `firmseal request add` brings that back.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal approve req-0197c0de-0000-7000-8000-000000000001 --ssh ~/.ssh/id_ed25519_sk.pub
  firmseal approve req-0197c0de-0000-7000-8000-000000000001 --key file:ann.key --log approvals
  firmseal approve req-0197c0de-0000-7000-8000-000000000001 --key pkcs11:token=ann --secret prompt \\
      --log approvals --anchor root.cbor
  firmseal approve --from request-17 --anchor root.cbor --key pkcs11:token=ann --log approvals -o ann.json")]
pub struct Approve {
    /// The signing request
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    request: Option<RequestId>,
    /// A folder that `firmseal request export` wrote, instead of the server
    #[arg(long, value_name = "DIR", requires = "anchor", requires = "output")]
    from: Option<PathBuf>,
    /// The approval to write, for `firmseal request add`
    #[arg(long, short, value_name = "FILE", requires = "from")]
    output: Option<PathBuf>,
    /// Root document version 1 as devices hold it: the server's must begin
    /// with it
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    #[command(flatten)]
    own: Agreeing,
}

/// An approval on its way to the server.
#[derive(Serialize, Deserialize)]
pub struct Carried {
    /// The signing request.
    pub request: RequestId,
    /// What is sent.
    #[serde(flatten)]
    pub approve: Agree,
}

impl Approve {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        if let Some(path) = &self.output {
            // Before a key is used.
            newfile::free(path)?;
        }
        let source = match &self.from {
            Some(folder) => Source::Folder(folder.clone()),
            None => Source::Server(Box::new(Profile::read(profile)?.client()?)),
        };
        if let (Source::Server(client), Some(id)) = (&source, self.request)
            && let Found::File(told) = Found::fetch(client, id).await?
        {
            return self.agree_to_file(&source, client, &told, output).await;
        }
        let told = source.request(self.request).await?;
        if told.state != RequestState::Waiting {
            let state = format!("{:?}", told.state).to_lowercase();
            return Err(CliError::new(
                Kind::Conflict,
                format_args!("the request is {state} and waits no more"),
            ));
        }
        let chain = source.chain(self.anchor.as_deref()).await?;
        let root = Root::decode(chain.root())?;
        let seen = look(&source, &told, output).await?;
        let statement = statement_of(&told, &seen, &root)?;
        show(&told, &seen, output);
        let agree = self.agree(statement, &root, &told.product, &told.channel).await?;
        match (&source, &self.output) {
            (Source::Server(client), _) => {
                let answer = client.operator().approve(told.id, &agree).await?;
                output.value(&answer, || request::print(&answer).print())
            }
            (Source::Folder(_), None) => Err(CliError::new(Kind::Usage, "name the file to write with -o")),
            (Source::Folder(_), Some(path)) => {
                let carried = Carried { request: told.id, approve: agree };
                let text = serde_json::to_vec_pretty(&carried)
                    .map_err(|error| CliError::new(Kind::Unexpected, error))?;
                newfile::write(path, newfile::PUBLIC, &text)?;
                output.value(&carried, || {
                    let key = carried.approve.key;
                    Record::new()
                        .row("request", told.id)
                        .row("key", key)
                        .row("written", path.display())
                        .print()
                })
            }
        }
    }

    /// Agrees to the signature of a file.
    async fn agree_to_file(
        &self,
        source: &Source,
        client: &Client,
        told: &SignatureRequest,
        output: &Output,
    ) -> Result {
        let waits = file::Waits::new(told)?;
        let chain = source.chain(self.anchor.as_deref()).await?;
        let root = Root::decode(chain.root())?;
        let statement = waits.look(client, &root, output).await?;
        let agree = self.agree(statement, &root, &told.product, &told.channel).await?;
        let answer = client.operator().approve_signature(told.id, &agree).await?;
        output.value(&answer, || request_record::print(&answer).print())
    }

    /// Asks whoever sits here, has the key sign, and looks whether that
    /// counts.
    async fn agree(
        &self,
        statement: Statement,
        root: &Root<'_>,
        product: &ProductId,
        channel: &ChannelName,
    ) -> Result<Agree> {
        let (agreement, signature) = self.own.agree(&statement).await?;
        let signed = SignedStatement { statement, signatures: vec![agreement] };
        let key = approver(&signed, root, product, Some(channel))?;
        Ok(Agree { key: ArtifactId(key.0), signature })
    }
}

fn show(told: &SigningRequest, seen: &Seen, output: &Output) {
    // Whoever asked, and whoever wrote the bill of materials, chose words:
    // none of them ends a line or moves the cursor.
    let line = |name: &str, text: &dyn std::fmt::Display| {
        output.note(format_args!("{name:<12}{}", plain(&text.to_string())));
    };
    line("product", &seen.after.product);
    line("version", &format_args!("{} on {}", seen.after.version, seen.after.channel));
    line("sequence", &seen.after.sequence);
    line("epoch", &seen.after.epoch);
    line("manifest", &seen.after.manifest);
    for payload in &seen.payloads {
        line("payload", payload);
    }
    for change in seen.difference.lines() {
        line("changes", &change);
    }
    line("requester", &told.requester);
    if !(told.build.is_empty() && told.commit.is_empty()) {
        line("build", &format_args!("{} of {}", told.build, told.commit));
    }
    for signer in &told.signers {
        line("signs", signer);
    }
    let own =
        if told.policy.0 == gate::policy() { "the rules of this program" } else { "rules unknown here" };
    line("policy", &format_args!("{} ({own})", told.policy));
    line("expires", &Time::from_millis(told.expiry.saturating_mul(1000)));
}

/// Whose signature it is. One that does not count is found before it is sent.
pub(super) fn approver(
    signed: &SignedStatement,
    root: &Root<'_>,
    product: &ProductId,
    channel: Option<&ChannelName>,
) -> Result<KeyId> {
    let role = root.approvers(product.as_str(), channel.map(ChannelName::as_str))?;
    let mut found = None;
    let encoded = signed.encode().map_err(PipelineError::KeyUnfit)?;
    statement::approvers(&encoded, &role, |_, key| found = Some(key), &RustCrypto)?;
    found.ok_or_else(|| {
        let on = channel.map(|channel| format!(" on {channel}")).unwrap_or_default();
        CliError::new(Kind::NotAllowed, format_args!("this key is no approver's of product {product}{on}"))
            .hint("`firmseal root show` names the approvers and their keys")
    })
}
