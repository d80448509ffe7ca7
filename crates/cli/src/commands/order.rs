//! `firmseal release create`: from files to a signed release.

use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use firmseal_api::client::{Client, ClientError};
use firmseal_api::requests::{Ordered, RequestState};
use firmseal_api::signatures::{SignatureRequest, SignatureState};
use firmseal_api::signing::{CreateRelease, Release, ReleaseComponent, ReleaseState};
use firmseal_manifest::{ChannelName, ProductId};
use semver::Version;
use serde::Serialize;
use tokio::time::Instant;

use super::assignment::Given;
use super::content::{Content, derived_key};
use super::release::print;
use super::request_record;
use super::sign::{PAUSE, POLL, Priority, standing};
use crate::backoff::Backoff;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::units::Span;

/// Make a release: upload its files, have them signed
///
/// The server inspects the artifacts, logs the request, signs and
/// verifies the result as a device would. The same command again returns
/// the same release: its idempotency key is derived from all it asks for.
/// An order whose keys are out of reach, or that a security officer has to
/// let go, stays with the server; the same command again waits for it.
///
/// Exit codes: 0 signed, waiting for approvals, or handed in with --no-wait;
/// 3 refused; 6 taken back or too late; 9 neither by the end of --wait.
#[derive(Args)]
#[command(disable_version_flag = true)]
#[command(after_help = "Examples:
  firmseal release create --product gateway --version 1.4.0 --epoch 1 --component main=firmware.bin
  firmseal release create --product gateway --version 1.4.0 --epoch 1 --component main=firmware.bin \\
      --channel beta --build \"$CI_PIPELINE_ID\" --commit \"$(git rev-parse HEAD)\" \\
      --sbom firmware.cdx.json --evidence provenance.json --evidence tests.xml --wait=2h --json
  firmseal release create --product sensor --version 2.0.0 --epoch 3 --sequence 40 \\
      --component app=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
pub struct Order {
    /// The product
    #[arg(long, value_name = "NAME")]
    product: ProductId,
    /// The channel
    #[arg(long, value_name = "NAME", default_value = "stable")]
    channel: ChannelName,
    /// The version, for people (semver)
    #[arg(long, value_name = "VERSION")]
    version: Version,
    /// The security epoch
    #[arg(long, value_name = "N")]
    epoch: u64,
    /// The sequence number; the next free one if left out
    #[arg(long, value_name = "N")]
    sequence: Option<u64>,
    /// A component and what goes into it: a file, or an artifact's SHA-256
    #[arg(long, value_name = "NAME=FILE|SHA256", required = true)]
    component: Vec<Filling>,
    /// Its software bill of materials, CycloneDX or SPDX as JSON: a file, or
    /// an artifact's SHA-256
    #[arg(long, value_name = "FILE|SHA256")]
    sbom: Option<Content>,
    /// A document about the build: provenance or test results in DSSE, JUnit
    /// XML, a reproduction; a file, or an artifact's SHA-256
    #[arg(long, value_name = "FILE|SHA256")]
    evidence: Vec<Content>,
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
    /// How long it is waited for while it is queued or held; without a value,
    /// a week
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_value = "10m",
        default_missing_value = "7d")]
    wait: Span,
    /// Hand it in, print what it came to so far, and wait for nothing
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
    /// Makes repeating safe; derived from everything else if left out
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// `NAME=FILE` or `NAME=SHA256`.
#[derive(Clone)]
struct Filling {
    name: String,
    content: Content,
}

impl FromStr for Filling {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<Filling, &'static str> {
        match text.split_once('=') {
            Some((name, content)) if !name.is_empty() && !content.is_empty() => {
                Ok(Filling { name: name.to_owned(), content: content.parse()? })
            }
            _ => Err("write NAME=FILE or NAME=SHA256"),
        }
    }
}

/// A release that was asked for, with the key that asks for it again.
#[derive(Serialize)]
struct Made<'a> {
    idempotency_key: &'a str,
    #[serde(flatten)]
    release: &'a Release,
}

/// An order on its way, with the key that asks for it again.
#[derive(Serialize)]
struct Queued<'a> {
    idempotency_key: &'a str,
    #[serde(flatten)]
    order: &'a SignatureRequest,
}

impl Order {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> Result {
        // A wrong name is found before files are sent. The server decides;
        // this only saves the wait.
        client.operator().product(&self.product).await?;
        let mut components = Vec::new();
        for filling in &self.component {
            let artifact = filling.content.there(client, output).await?;
            components.push(ReleaseComponent { component: filling.name.clone(), artifact });
        }
        let sbom = match &self.sbom {
            None => None,
            Some(content) => Some(content.there(client, output).await?),
        };
        let evidence = Content::all_there(&self.evidence, client, output).await?;
        let wish = CreateRelease {
            sbom,
            evidence,
            product: self.product,
            channel: self.channel,
            version: self.version,
            sequence: self.sequence,
            epoch: self.epoch,
            components,
            build: self.build,
            commit: self.commit,
            parameters: self.parameters.into_iter().map(|given| (given.name, given.value)).collect(),
            priority: self.priority.into(),
            deadline_seconds: self.deadline.map(|span| u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX)),
        };
        let key = match self.idempotency_key {
            Some(key) => key,
            None => derived_key(&wish)?,
        };
        output.note(format_args!("idempotency key {key}"));
        let until = Instant::now() + if self.no_wait { Duration::ZERO } else { self.wait.0 };
        let ordered = ordered(client, &key, &wish, until, output).await?;
        told(ordered, &key, self.no_wait, output)
    }
}

/// Orders, and follows the order while it is queued or held and there is time.
async fn ordered(
    client: &Client,
    key: &str,
    wish: &CreateRelease,
    until: Instant,
    output: &Output,
) -> Result<Ordered> {
    let left = || until.saturating_duration_since(Instant::now());
    let operator = client.operator();
    let mut ordered = operator.create_release_within(key, wish, left().min(POLL)).await?;
    let (mut backoff, mut said) = (Backoff::new(), String::new());
    while let Ordered::Open(open) = &ordered {
        if left().is_zero() {
            break;
        }
        let now = standing(open);
        if now != said {
            output.note(format_args!("{}: {now}", open.id));
            said = now;
        }
        let before = Instant::now();
        match followed(client, open, left().min(POLL)).await {
            Ok(Some(answer)) => (ordered, backoff) = (answer, Backoff::new()),
            // It ended without a release: why, the order itself is told.
            Ok(None) => return Ok(operator.create_release_within(key, wish, left().min(POLL)).await?),
            Err(error) => backoff.wait(error).await?,
        }
        // The server holds its answer back while the order is queued, and not
        // while it is held.
        if matches!(ordered, Ordered::Open(_)) && before.elapsed() < PAUSE {
            tokio::time::sleep(PAUSE.min(left())).await;
        }
    }
    Ok(ordered)
}

/// Looks how far an order is, which spends no token that is good once; `None`
/// where it ended without a release.
async fn followed(
    client: &Client,
    open: &SignatureRequest,
    wait: Duration,
) -> std::result::Result<Option<Ordered>, ClientError> {
    let operator = client.operator();
    let now = operator.signature(open.id, wait).await?;
    Ok(match (now.state, now.release) {
        (SignatureState::Queued | SignatureState::Held, _) => Some(Ordered::Open(Box::new(now))),
        (SignatureState::Signed, Some(release)) => {
            Some(Ordered::Release(Box::new(operator.release(release).await?)))
        }
        (SignatureState::Waiting, _) => {
            Some(Ordered::Request(Box::new(operator.signing_request(now.id).await?)))
        }
        _ => None,
    })
}

/// Says what an order came to so far.
pub fn told(ordered: Ordered, key: &str, no_wait: bool, output: &Output) -> Result {
    let release = match ordered {
        Ordered::Release(release) => *release,
        Ordered::Open(open) => {
            output.value(&Queued { idempotency_key: key, order: &open }, || {
                request_record::print(&open).print()
            })?;
            let follow = format!("firmseal request show {}", open.id);
            if no_wait {
                output.note(format_args!("it stays with the server: {follow}"));
                return Ok(());
            }
            let what = format_args!("{} is not at its end: {}", open.id, standing(&open));
            return Err(CliError::new(Kind::Pending, what).hint(format!(
                "it stays with the server: the same command again goes on waiting, `{follow}` shows it"
            )));
        }
        Ordered::Request(request) => {
            match (request.state, request.missing) {
                (RequestState::Waiting, 0) => output.note("enough people have agreed; it is being signed"),
                (RequestState::Waiting, missing) => output.note(format_args!(
                    "{missing} more people have to agree: firmseal approve {}",
                    request.id
                )),
                (closed, _) => {
                    let state = format!("{closed:?}").to_lowercase();
                    let what = format_args!("signing request {} is {state}", request.id);
                    return Err(CliError::new(Kind::Conflict, what)
                        .hint("order it anew with another --idempotency-key"));
                }
            }
            return output.value(&request, || super::request::print(&request).print());
        }
    };
    if release.state == ReleaseState::Signed {
        output.note("its devices' owner has to agree: export it, and have it countersigned");
    }
    let gone = match release.state {
        ReleaseState::Withdrawn => Some("withdrawn"),
        ReleaseState::Revoked => Some("revoked"),
        ReleaseState::Signed | ReleaseState::Verified => None,
    };
    if let Some(gone) = gone {
        output.note(format_args!(
            "this release was made before and {gone}; a new one needs another --idempotency-key"
        ));
    }
    output.value(&Made { idempotency_key: key, release: &release }, || print(&release).print())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_a_file_or_an_artifact() {
        let hex = "ab".repeat(32);
        let is_artifact =
            |text: &str| matches!(text.parse::<Filling>().unwrap().content, Content::Artifact(_));
        assert!(is_artifact(&format!("main={hex}")));
        assert!(!is_artifact(&format!("main=./{hex}")));
        assert!(!is_artifact("main=a=b.bin"));
        for bad in ["main", "main=", "=x", ""] {
            assert!(bad.parse::<Filling>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_same_wish_has_the_same_key() {
        let wish = |epoch| CreateRelease {
            sbom: None,
            evidence: Vec::new(),
            product: "gw".parse().unwrap(),
            channel: "stable".parse().unwrap(),
            version: Version::new(1, 0, 0),
            sequence: None,
            epoch,
            components: Vec::new(),
            build: String::new(),
            commit: String::new(),
            parameters: Default::default(),
            priority: Default::default(),
            deadline_seconds: None,
        };
        assert_eq!(derived_key(&wish(1)).unwrap(), derived_key(&wish(1)).unwrap());
        assert_ne!(derived_key(&wish(1)).unwrap(), derived_key(&wish(2)).unwrap());
        assert!(derived_key(&wish(1)).unwrap().len() <= 128);
    }
}
