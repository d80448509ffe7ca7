//! `firmseal sign`: files go to the service, their signatures come back.

mod many;
mod service;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use firmseal_api::client::Client;
use firmseal_api::signatures::{self as api, CreateSignature, SignatureRequest, SignatureState};
use firmseal_formats::{Format, Parameters, Wanted};
use firmseal_manifest::{ChannelName, ProductId, PublicKey, Signature};
use semver::Version;
use serde::Serialize;
use tokio::time::Instant;

use super::assignment::Given;
use super::content::{Content, derived_key};
use super::request_record::print;
use crate::attached::{Readable, to_tools};
use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::profile::Profile;
use crate::units::Span;
use crate::upload::{Source, upload};

pub(super) use service::standing;
use service::{Service, is_open};

/// Longest that one answer is waited for.
pub(super) const POLL: Duration = Duration::from_secs(20);
/// Between two questions about a request that waits for people.
pub(super) const PAUSE: Duration = Duration::from_secs(3);

/// Have the service sign files, and wait for them
///
/// Uploads each file, asks for its signature, waits while it is queued and
/// while people have to agree, and checks what comes back against the file
/// before anything is written. The same command again never signs twice: it
/// goes on with the requests of the first time.
///
/// Several files, or --into, are asked for together: each is signed or
/// refused by itself, and what is signed is written whatever became of the
/// others.
///
/// In a pipeline no profile is needed: `FIRMSEAL_SERVER`, `FIRMSEAL_AUTHORITY`
/// and the job's own token say it all.
///
/// Exit codes: 0 signed, or handed in with --no-wait; 3 refused; 6 its time
/// is over or somebody took it back; 7 out of reach; 9 not at its end.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal sign firmware.bin --product gateway --version 1.4.0 --epoch 1 -o firmware.signed.bin
  firmseal sign image.bin --product gateway --version 1.4.0 --epoch 1 --signature image.sig \\
      --build \"$CI_PIPELINE_ID\" --commit \"$CI_COMMIT_SHA\" --evidence provenance.json --wait=2h --json
  firmseal sign image.bin --product gateway --version 1.4.0 --epoch 1 --no-wait \\
      --server https://firmseal.example.com:8443 --authority ca.pem --audience firmseal.example.com
  firmseal sign modules/*.ko --product kernel --version 6.1.56 --epoch 0 --param certificate=@signer.crt --into signed")]
pub struct Sign {
    /// The files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    order: Order,
    /// Its build evidence: bills of materials, provenance, test results; a
    /// file, or an artifact's SHA-256
    #[arg(long, value_name = "FILE|SHA256")]
    evidence: Vec<Content>,
    /// What the format makes of the signature, to write: the signed file, or
    /// for `cms` the signature's file beside it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The signature by itself, to write: as OpenSSL takes it, ECDSA in DER
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// A directory for what is signed, each under its file's name; `NAME.sig`
    /// where the signature stands beside it
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["output", "signature"])]
    into: Option<PathBuf>,
    /// The public key that it has to be by, PEM; any key of the service's
    /// unless told
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
    /// How long it is waited for; without a value, a week
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_value = "10m",
        default_missing_value = "7d")]
    wait: Span,
    /// Hand it in, print its id, and wait for nothing
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    #[command(flatten)]
    server: Server,
}

/// What is asked for, but for files.
#[derive(Args)]
struct Order {
    /// The product
    #[arg(long, value_name = "NAME")]
    product: ProductId,
    /// The channel
    #[arg(long, value_name = "NAME", default_value = "stable")]
    channel: ChannelName,
    /// The version (semver)
    #[arg(long, value_name = "VERSION")]
    version: Version,
    /// The security epoch
    #[arg(long, value_name = "N")]
    epoch: u64,
    /// The signing key, by its name; the product's unless told
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// A parameter of the product's firmware format
    #[arg(long = "param", value_name = "NAME=VALUE|NAME=@FILE")]
    parameters: Vec<Given>,
    /// The CI's id of the build
    #[arg(long, value_name = "ID", default_value = "")]
    build: String,
    /// The commit it was built from
    #[arg(long, value_name = "ID", default_value = "")]
    commit: String,
    /// How urgent it is
    #[arg(long, value_enum, default_value = "release")]
    priority: Priority,
    /// After how long it is of no use any more: 7 days unless told
    #[arg(long, value_name = "SPAN")]
    deadline: Option<Span>,
    /// Makes repeating safe; derived from everything else if left out
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Which service, for whoever has no profile.
#[derive(Args)]
struct Server {
    /// The service, `https://HOST:PORT`, instead of a profile's
    #[arg(long, value_name = "URL", requires = "authority")]
    server: Option<String>,
    /// PEM file of the authorities that vouch for it
    #[arg(long, value_name = "FILE", requires = "server")]
    authority: Option<PathBuf>,
    /// What the service calls itself: the CI platform makes the job's token
    /// for it alone
    #[arg(long, value_name = "NAME", requires = "server")]
    audience: Option<String>,
}

/// How urgent a request is.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Priority {
    /// A fix that devices in the field wait for
    Emergency,
    /// The ordinary case
    Release,
    /// Builds that nobody waits for
    Nightly,
}

impl From<Priority> for api::Priority {
    fn from(priority: Priority) -> api::Priority {
        match priority {
            Priority::Emergency => api::Priority::Emergency,
            Priority::Release => api::Priority::Release,
            Priority::Nightly => api::Priority::Nightly,
        }
    }
}

/// What came of it, with the key that asks for it again.
#[derive(Serialize)]
struct Told<'a> {
    idempotency_key: &'a str,
    #[serde(flatten)]
    request: &'a SignatureRequest,
}

impl Sign {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        for path in [&self.output, &self.signature].into_iter().flatten() {
            // Before anything is asked for.
            newfile::free(path)?;
        }
        let public = self.public.as_deref().map(public_key).transpose()?;
        let profile = match (&self.server.server, &self.server.authority) {
            (Some(server), Some(authority)) => {
                let token = std::env::var_os("FIRMSEAL_TOKEN_FILE").map(PathBuf::from);
                Profile::bare(server.clone(), authority.clone(), token, self.server.audience.clone())
            }
            _ => Profile::read(profile)?,
        };
        let mut service = Service::open(profile)?;
        let product =
            service.ask(async |client| client.operator().product(&self.order.product).await).await?;
        let format = firmseal_formats::find(&product.format)?;
        if self.output.is_some() && format.embedding().is_none() && format.beside().is_none() {
            let what = format!("files of product {} have no place for a signature", product.id);
            return Err(CliError::new(Kind::Usage, what).hint("name a file for it with --signature"));
        }
        let evidence = Content::all_there(&self.evidence, &service.client, output).await?;
        let file = match self.files.as_slice() {
            [file] if self.into.is_none() => file,
            _ => return self.sign_all(service, format, public, evidence, output).await,
        };
        let artifact = upload(&service.client, Source::open(file)?, output).await?.id;
        let wish = self.order.wish(artifact, evidence);
        let key = match &self.order.idempotency_key {
            Some(key) => key.clone(),
            None => derived_key(&wish)?,
        };
        output.note(format_args!("idempotency key {key}"));

        let until = Instant::now() + if self.no_wait { Duration::ZERO } else { self.wait.0 };
        let first = until.saturating_duration_since(Instant::now()).min(POLL);
        let asked = async |client: &Client| client.operator().create_signature(&key, &wish, first).await;
        let mut request = service.ask(asked).await?;
        if !self.no_wait {
            request = service.wait(request, until, output).await?;
        }
        if request.state == SignatureState::Signed {
            let wanted = [(&self.output, Part::Signed), (&self.signature, Part::Signature)];
            let wanted = wanted.into_iter().filter_map(|(path, part)| Some((path.as_deref()?, part)));
            receive(&mut service, format, file, &request, public.as_ref(), wanted.collect(), output).await?;
        }
        let told = Told { idempotency_key: &key, request: &request };
        output.value(&told, || print(&request).print())?;
        end(&request, self.no_wait)
    }
}

/// What is written of a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What the format makes of it.
    Signed,
    /// The signature by itself.
    Signature,
}

/// Checks the signature against the file, and writes what was asked for.
async fn receive(
    service: &mut Service,
    format: &'static dyn Format,
    path: &Path,
    request: &SignatureRequest,
    public: Option<&PublicKey>,
    wanted: Vec<(&Path, Part)>,
    output: &Output,
) -> Result {
    let Some(signature) = &request.signature else {
        return Err(CliError::new(Kind::Unexpected, "the service calls it signed and shows no signature"));
    };
    let key = match public {
        Some(key) => key.clone(),
        None => service.key_of(signature).await?,
    };
    if key.id().0 != signature.key_id.0 {
        let what = format!("key {} ({}) signed, which is not this one", signature.key, signature.key_id);
        return Err(CliError::new(Kind::Refused, what));
    }
    let source = File::open(path).map_err(file(path))?;
    let parameters: Parameters =
        request.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (version, epoch) = (request.version.clone(), request.epoch);
    let readable =
        Readable::read(format, &source, &Wanted { version, epoch, key: &key, parameters: &parameters })?;
    let value = Signature(signature.value.0.clone());
    readable.check(&value)?;
    for (path, part) in wanted {
        let what = match part {
            Part::Signed => {
                readable.write(&value, path)?;
                if format.beside().is_some() { "signature's file" } else { "signed file" }
            }
            Part::Signature => {
                newfile::write(path, newfile::PUBLIC, &to_tools(key.algorithm(), &value)?)?;
                "signature"
            }
        };
        output.note(format_args!("{what}: {}", path.display()));
    }
    Ok(())
}

impl Order {
    fn wish(
        &self,
        artifact: firmseal_manifest::ArtifactId,
        evidence: Vec<firmseal_manifest::ArtifactId>,
    ) -> CreateSignature {
        CreateSignature {
            product: self.product.clone(),
            channel: self.channel.clone(),
            artifact,
            key: self.key.clone(),
            version: self.version.clone(),
            epoch: self.epoch,
            parameters: self.parameters.iter().map(|own| (own.name.clone(), own.value.clone())).collect(),
            build: self.build.clone(),
            commit: self.commit.clone(),
            evidence,
            priority: self.priority.into(),
            deadline_seconds: self.deadline.map(|span| u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX)),
        }
    }
}

/// The exit code of where a request stands.
fn end(request: &SignatureRequest, no_wait: bool) -> Result {
    let anew = "ask anew with another --idempotency-key";
    let id = request.id;
    match request.state {
        SignatureState::Signed => Ok(()),
        state if is_open(state) && no_wait => Ok(()),
        SignatureState::Queued | SignatureState::Waiting | SignatureState::Held => {
            Err(CliError::new(Kind::Pending, format_args!("{id} is not at its end: {}", standing(request)))
                .hint("run the same command again to go on waiting; nothing is signed twice"))
        }
        SignatureState::Refused => {
            let reasons = request.reasons.iter();
            let reasons: Vec<_> = reasons.map(|own| format!("{}: {}", own.rule, own.why)).collect();
            let what = crate::record::plain(&reasons.join("; "));
            Err(CliError::new(Kind::Refused, format_args!("{id} is refused: {what}"))
                .hint(format!("change the file or the request; if the rules changed, {anew}")))
        }
        SignatureState::Expired => {
            Err(CliError::new(Kind::Conflict, format_args!("the time of {id} is over")).hint(anew))
        }
        SignatureState::Cancelled => {
            Err(CliError::new(Kind::Conflict, format_args!("somebody took {id} back")).hint(anew))
        }
    }
}

/// A public key in a file.
pub fn public_key(path: &Path) -> Result<PublicKey> {
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    PublicKey::from_text(&text).map_err(|error| CliError::new(Kind::Usage, error).about(path.display()))
}
