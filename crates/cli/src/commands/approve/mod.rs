//! `firmseal approve`: a person agrees to a release, or to the signature of
//! a file, with an own key.
//!
//! The server is asked for bytes and believed in nothing: manifest, payloads,
//! headers and differences are read here, and what is signed names what was
//! read here.

mod file;
mod look;
pub mod source;
mod ssh;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_api::Base64 as Bytes64;
use firmseal_api::client::Client;
use firmseal_api::requests::{ApprovalSignature, Approve as Agree, RequestState, SigningRequest};
use firmseal_api::signatures::SignatureRequest;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{KeyId, Root, statement};
use firmseal_fleet::Time;
use firmseal_keys::{KeyUri, SecretSource, Signer};
use firmseal_manifest::{
    Agreement, ArtifactId, ChannelName, Intent, ProductId, Purpose, RequestId, SignedStatement, Statement,
};
use firmseal_sign::{PipelineError, gate};
use serde::{Deserialize, Serialize};

use self::look::{Seen, look, statement_of};
use self::source::Source;
use super::request::{self, Found};
use super::request_record;
use crate::error::{CliError, Kind, Result};
use crate::newfile;
use crate::output::Output;
use crate::own_key::open_log;
use crate::profile::Profile;
use crate::record::{Record, plain};
use crate::unechoed::unechoed;

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
    /// Your key, `file:PATH` or `pkcs11:...`
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>(), requires = "log", required_unless_present = "ssh")]
    key: Option<KeyUri>,
    /// Where its passphrase or PIN comes from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// The directory of your log, in which this use of the key is entered
    /// first; made if it does not exist
    #[arg(long, value_name = "DIR", requires = "key")]
    log: Option<PathBuf>,
    /// Your SSH key: the private key, or the public one of a key in an agent
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    ssh: Option<PathBuf>,
    /// Root document version 1 as devices hold it: the server's must begin
    /// with it
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// Agree without being asked
    #[arg(long)]
    yes: bool,
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
        if !self.yes && !asked()? {
            return Err(CliError::new(Kind::Refused, "not approved; nothing was signed"));
        }
        let (log, ssh) = (self.log.as_deref(), self.ssh.as_deref());
        let (agreement, signature) = sign(&statement, self.key.as_ref(), &self.secret, log, ssh).await?;
        let signed = SignedStatement { statement, signatures: vec![agreement] };
        let key = approver(&signed, root, product, Some(channel))?;
        Ok(Agree { key: ArtifactId(key.0), signature })
    }
}

/// Signs a Statement with a key that is logged first, or with an SSH key.
pub(crate) async fn sign(
    statement: &Statement,
    key: Option<&KeyUri>,
    secret: &SecretSource,
    log: Option<&Path>,
    ssh: Option<&Path>,
) -> Result<(Agreement, ApprovalSignature)> {
    if let Some(path) = ssh {
        let blob = ssh::sign(path, &statement.encode())?;
        return Ok((Agreement::Ssh(blob.clone()), ApprovalSignature::Ssh { signature: Bytes64(blob) }));
    }
    let (Some(uri), Some(log)) = (key, log) else {
        return Err(CliError::new(Kind::Usage, "name your key with --key and --log, or with --ssh"));
    };
    let signer = crate::keys::open(uri, secret)?;
    let log = open_log(log)?;
    let intent = Intent {
        purpose: Purpose::Statement,
        subject: statement.digest(),
        keys: vec![signer.public_key().id()],
        delegation: None,
        statements: Vec::new(),
        requester: signer.public_key().id().0,
        policy: statement.policy,
        context: Vec::new(),
    };
    let key = signer.public_key().clone();
    let logged = crate::keys::logged(&log, intent, &key).await?;
    let tbs = statement.to_be_signed(&key).map_err(PipelineError::KeyUnfit)?;
    let signature = signer.sign(logged, tbs).await?;
    let bytes = Bytes64(signature.0.clone());
    Ok((Agreement::Cose { key, signature }, ApprovalSignature::Cose { signature: bytes }))
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

/// Asks a person; without one there is --yes.
pub(crate) fn asked() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::new(Kind::Usage, "nobody is there to be asked")
            .hint("look at the request first, then agree with --yes"));
    }
    eprint!("do you agree? Type yes: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
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
