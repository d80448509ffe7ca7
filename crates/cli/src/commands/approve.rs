//! `firmseal approve`: a person agrees to a release, with an own key.
//!
//! The server is asked for bytes and believed in nothing: manifest, payloads,
//! headers and differences are read here, and what is signed names what was
//! read here.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};
use clap::Args;
use firmseal_api::Base64 as Bytes64;
use firmseal_api::client::Client;
use firmseal_api::encoding::PageQuery;
use firmseal_api::requests::{ApprovalSignature, Approve as Agree, RequestState, SigningRequest};
use firmseal_core::crypto::RustCrypto;
use firmseal_core::evidence::holder_id;
use firmseal_core::{BlockSize, Digest, KeyId, Root, StatementPurpose, sshsig, statement};
use firmseal_keys::{KeyUri, Logged, SecretSource, Signer};
use firmseal_manifest::{
    Agreement, ArtifactId, Intent, Purpose, RequestId, SignedStatement, Statement, TreeBuilder,
};
use firmseal_sign::review::{self, Difference, Side};
use firmseal_sign::{PipelineError, gate};
use firmseal_store_local::IntentLog;

use super::request;
use crate::download::Incoming;
use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;
use crate::profile::Profile;
use crate::trust;
use crate::unechoed::unechoed;

/// The log in its directory.
const LOG: &str = "intents.log";

/// Agree to a release that waits, after looking at its bytes
///
/// Fetches the manifest and every payload, hashes and reads them here, and
/// compares: what you sign names what this program saw. Sign with a key file
/// or token of your own, or with an SSH key, also one in a security key or
/// behind an agent. The key must be that of an approver in the root document,
/// and nobody approves the own request.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal approve req-0197c0de-0000-7000-8000-000000000001 --ssh ~/.ssh/id_ed25519_sk.pub
  firmseal approve req-0197c0de-0000-7000-8000-000000000001 --key file:ann.key --log approvals
  firmseal approve req-0197c0de-0000-7000-8000-000000000001 --key pkcs11:token=ann --secret prompt \\
      --log approvals --anchor root.cbor")]
pub struct Approve {
    /// The signing request
    request: RequestId,
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

/// What was found in the bytes.
struct Seen {
    after: Side,
    difference: Difference,
    header: Digest,
    /// What each payload says of itself, for people.
    payloads: Vec<String>,
}

impl Approve {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let told = client.operator().signing_request(self.request).await?;
        if told.state != RequestState::Waiting {
            let state = format!("{:?}", told.state).to_lowercase();
            return Err(CliError::new(
                Kind::Conflict,
                format_args!("the request is {state} and waits no more"),
            ));
        }
        let chain = trust::served_behind(&client, self.anchor.as_deref()).await?;
        let root = Root::decode(chain.root())?;
        let seen = look(&client, &told, output).await?;
        let statement = statement_of(&told, &seen, &root)?;
        show(&told, &seen, output);
        if !self.yes && !asked()? {
            return Err(CliError::new(Kind::Refused, "not approved; nothing was signed"));
        }
        let (agreement, signature) = self.sign(&statement).await?;
        let signed = SignedStatement { statement, signatures: vec![agreement] };
        let key = approver(&signed, &root, told.product.as_str())?;
        let agree = Agree { key: ArtifactId(key.0), signature };
        let answer = client.operator().approve(self.request, &agree).await?;
        output.value(&answer, || request::print(&answer).print())
    }

    async fn sign(&self, statement: &Statement) -> Result<(Agreement, ApprovalSignature)> {
        if let Some(path) = &self.ssh {
            let blob = ssh_sign(path, &statement.encode())?;
            return Ok((Agreement::Ssh(blob.clone()), ApprovalSignature::Ssh { signature: Bytes64(blob) }));
        }
        let (Some(uri), Some(log)) = (&self.key, &self.log) else {
            return Err(CliError::new(Kind::Usage, "name your key with --key and --log, or with --ssh"));
        };
        let signer = crate::keys::open(uri, &self.secret)?;
        let mut made = std::fs::DirBuilder::new();
        made.recursive(true).mode(0o700).create(log).map_err(file(log))?;
        let log = IntentLog::open(&log.join(LOG))?;
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
        let logged = Logged::append(&log, intent).await.map_err(PipelineError::Log)?;
        let key = signer.public_key().clone();
        let tbs = statement.to_be_signed(&key).map_err(PipelineError::KeyUnfit)?;
        let signature = signer.sign(logged, tbs).await?;
        let bytes = Bytes64(signature.0.clone());
        Ok((Agreement::Cose { key, signature }, ApprovalSignature::Cose { signature: bytes }))
    }
}

fn lies(what: &str) -> CliError {
    CliError::new(Kind::Refused, format_args!("{what} is not what the server says of it"))
        .hint("do not approve; tell whoever runs the server")
}

/// Reads everything that the release will be made of.
async fn look(client: &Client, told: &SigningRequest, output: &Output) -> Result<Seen> {
    let operator = client.operator();
    let after = Side::read(&operator.unsigned_envelope(told.id).await?)?;
    if after.manifest != told.manifest.0 {
        return Err(lies("the manifest"));
    }
    let product = operator.product(&told.product).await?;
    let (mut headers, mut payloads) = (Vec::new(), Vec::new());
    if after.components.len() != told.components.len() || after.product != told.product.as_str() {
        return Err(lies("the list of components"));
    }
    for (part, payload) in after.components.iter().zip(&told.components) {
        let component = product.components.iter().find(|component| component.name == part.name);
        let block = component.and_then(|component| BlockSize::from_bytes(u64::from(component.block_size)));
        let block = block.ok_or_else(|| lies("the product"))?;
        output.note(format_args!("fetching component {}: {} bytes", part.name, part.size));
        let path = format!("/v1/requests/{}/payloads/{}", told.id, payload.payload);
        let mut incoming = Incoming::new(client, path, part.size);
        let (mut copy, mut tree) = (tempfile::tempfile()?, TreeBuilder::new(block));
        while let Some(piece) = incoming.piece().await? {
            copy.write_all(&piece)?;
            tree.update(&piece);
        }
        // The tree is in the manifest: what it covers is what devices write.
        if *tree.finish()?.tree.root() != part.tree_root || payload.component != part.name {
            return Err(lies(&format!("the payload of component {}", part.name)));
        }
        let read = inspect(copy, &product.format)?;
        headers.push((part.name.clone(), read.0));
        payloads.push(format!("{}: {}", part.name, read.1));
    }
    let before = match told.previous {
        Some(previous) => Some(release_before(client, told, previous).await?),
        None => None,
    };
    let header = review::header(&headers);
    let difference = Difference { before, after: after.clone() };
    Ok(Seen { after, difference, header, payloads })
}

/// What the format's parser reads of a payload: its digest, and a line.
fn inspect(copy: File, format: &str) -> Result<(Digest, String)> {
    let inspection = review::inspect(format, &copy)?;
    let mut line = format!("{}, {} bytes", inspection.format, inspection.image_size);
    if let Some(version) = &inspection.version {
        line.push_str(&format!(", version {version}"));
    }
    if let Some(epoch) = inspection.epoch {
        line.push_str(&format!(", epoch {epoch}"));
    }
    if inspection.debug == Some(true) {
        line.push_str(", a DEBUG build");
    }
    Ok((inspection.digest(), line))
}

/// The release before, as its own envelope says it.
async fn release_before(client: &Client, told: &SigningRequest, previous: ArtifactId) -> Result<Side> {
    let mut page = PageQuery::default();
    loop {
        let answer = client.operator().releases(Some(&told.product), &page).await?;
        if let Some(release) = answer.items.iter().find(|release| release.manifest == previous) {
            let side = Side::read(&client.operator().envelope(release.id).await?)?;
            return if side.manifest == previous.0 { Ok(side) } else { Err(lies("the release before")) };
        }
        page.after = Some(answer.next.ok_or_else(|| lies("the release before"))?);
    }
}

/// The Statement over what was seen. Where the server's request says
/// otherwise, nobody should sign.
fn statement_of(told: &SigningRequest, seen: &Seen, root: &Root<'_>) -> Result<Statement> {
    let difference = seen.difference.digest();
    if seen.header != told.header.0 {
        return Err(lies("what the payloads say of themselves"));
    }
    if difference != told.difference.0 {
        return Err(lies("the difference from the release before"));
    }
    let said = (told.version.to_string(), told.channel.to_string(), told.sequence, told.epoch);
    let read =
        (seen.after.version.clone(), seen.after.channel.clone(), seen.after.sequence, seen.after.epoch);
    if said != read || seen.after.environment != root.environment() {
        return Err(lies("version, channel, sequence, epoch or environment"));
    }
    // Shown is a name, signed a digest: whoever asked must be the same.
    if told.requester_id.0 != holder_id(&told.requester, &RustCrypto) {
        return Err(lies("who asked for it"));
    }
    Ok(Statement {
        purpose: StatementPurpose::Approval,
        environment: root.environment(),
        lineage: *root.lineage(),
        request: told.id,
        manifest: seen.after.manifest,
        signers: told.signers.iter().map(|id| KeyId(id.0)).collect(),
        previous: told.previous.map(|previous| previous.0),
        expiry: told.expiry,
        header: seen.header,
        difference,
        policy: told.policy.0,
        requester: told.requester_id.0,
    })
}

fn show(told: &SigningRequest, seen: &Seen, output: &Output) {
    let line = |name: &str, text: &dyn std::fmt::Display| output.note(format_args!("{name:<12}{text}"));
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
    line("build", &format_args!("{} of {}", told.build, told.commit));
    for signer in &told.signers {
        line("signs", signer);
    }
    let own =
        if told.policy.0 == gate::policy() { "the rules of this program" } else { "rules unknown here" };
    line("policy", &format_args!("{} ({own})", told.policy));
    line("expires", &format_args!("{} s after 1970", told.expiry));
}

/// Asks a person; without one there is --yes.
fn asked() -> Result<bool> {
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
fn approver(signed: &SignedStatement, root: &Root<'_>, product: &str) -> Result<KeyId> {
    let mut found = None;
    let encoded = signed.encode().map_err(PipelineError::KeyUnfit)?;
    statement::approvers(&encoded, root, product, |_, key| found = Some(key), &RustCrypto)?;
    found.ok_or_else(|| {
        CliError::new(Kind::NotAllowed, format_args!("this key is no approver's of product {product}"))
            .hint("`firmseal root show` names the approvers and their keys")
    })
}

/// Has OpenSSH sign: it knows agents and security keys. The namespace keeps
/// this signature apart from every other that the key makes.
fn ssh_sign(key: &Path, message: &[u8]) -> Result<Vec<u8>> {
    let namespace = String::from_utf8_lossy(sshsig::NAMESPACE).into_owned();
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-O", "hashalg=sha256", "-n", &namespace, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| CliError::from(error).about("ssh-keygen").hint("install OpenSSH 8.9 or later"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(message)?;
    }
    let done = child.wait_with_output()?;
    let refused = || CliError::new(Kind::Refused, "ssh-keygen did not sign; it says why above");
    if !done.status.success() {
        return Err(refused());
    }
    let armoured = String::from_utf8(done.stdout).map_err(|_| refused())?;
    let body: String = armoured.lines().filter(|line| !line.starts_with("-----")).collect();
    Base64::decode_vec(&body).map_err(|_| refused())
}
