//! `firmseal oci verify`: whether an image may run, and which one that is.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{ArgGroup, Args};
use firmseal_formats::Platform;
use firmseal_formats::sigstore::is_predicate_type;
use firmseal_oci::{Policy, Receiver, Reference, Report, Verified, verify};
use serde_json::json;

use super::Access;
use super::trust_store::TrustStore;
use crate::commands::sign::public_key;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::record::Record;

/// Verify an image, and print the digest to run
///
/// Resolves the tag, fetches the manifest and hashes it, and looks for enough
/// signatures in the bundles that refer to it. The name that it prints has the
/// digest of what was verified: run that one, and not the tag, which may mean
/// something else a moment later. Ends with 3 where the image must not run,
/// with 7 where nobody can tell: start it in neither case.
///
/// A registry can answer a tag with an older image, or another one, that the
/// same keys have signed: name the digest, or demand --minimum-epoch and
/// --subject.
#[derive(Args)]
#[command(group = ArgGroup::new("believed").args(["keys", "trust"]).required(true))]
#[command(after_help = "Examples:
  firmseal oci verify registry.example.com/nodes/worker:1.4.0 --key release.pub.pem --authority ca.pem
  firmseal --json oci verify registry.example.com/nodes/worker:1.4.0 --platform linux/arm64 \\
      --trust /etc/firmseal/images.toml --authority ca.pem --report-to https://fleet.example.com/refused
  firmseal oci verify 127.0.0.1:5000/worker@sha256:… --key a.pem --key b.pem --threshold 2 --minimum-epoch 3")]
pub struct Verify {
    /// The image: HOST/REPOSITORY, with a tag or a digest
    image: Reference,
    /// A public key that may have signed it, PEM; may be repeated
    #[arg(long = "key", id = "keys", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// A trust store in TOML: keys, how many of them, and until when
    #[arg(long, value_name = "FILE", conflicts_with_all = ["threshold", "minimum_epoch", "subject"])]
    trust: Option<PathBuf>,
    /// How many of the keys have to have signed; one unless said
    #[arg(long, value_name = "N")]
    threshold: Option<usize>,
    /// The lowest security epoch that runs here
    #[arg(long, value_name = "N")]
    minimum_epoch: Option<u64>,
    /// The name that a statement has to give the image
    #[arg(long, value_name = "NAME")]
    subject: Option<String>,
    /// Of an index, the image that runs here: OS/ARCHITECTURE[/VARIANT]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<Platform>,
    /// Ask for attestations of this type instead of signatures
    #[arg(long, value_name = "URI", value_parser = predicate_type)]
    predicate_type: Option<String>,
    /// Where to tell that an image must not run, or that the trust store ends
    /// soon; POST of JSON
    #[arg(long, value_name = "URL")]
    report_to: Option<String>,
    #[command(flatten)]
    access: Access,
}

fn platform(text: &str) -> std::result::Result<Platform, String> {
    Platform::parse(text).ok_or_else(|| "write OS/ARCHITECTURE, as linux/arm64".to_owned())
}

fn predicate_type(text: &str) -> std::result::Result<String, String> {
    match is_predicate_type(text) {
        true => Ok(text.to_owned()),
        false => Err("write a URI, as https://slsa.dev/provenance/v1".to_owned()),
    }
}

impl Verify {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        let receiver = match &self.report_to {
            None => None,
            Some(url) => Some(Receiver::new(url, self.access.authorities()?.as_deref())?),
        };
        let now = SystemTime::now();
        let mut warning = None;
        let done = self.verified(now, &mut warning).await;
        if let Some(warning) = &warning {
            output.note(warning);
            self.tell(&receiver, "trust-store-ends-soon", warning, output).await;
        }
        match done {
            Ok(verified) => self.print(&verified, warning.as_deref(), output),
            Err(error) => {
                let event = match error.kind {
                    Kind::Unavailable => "image-not-verified",
                    _ => "image-refused",
                };
                self.tell(&receiver, event, &error.message, output).await;
                Err(error)
            }
        }
    }

    async fn verified(&self, now: SystemTime, warning: &mut Option<String>) -> Result<Verified> {
        let policy = match &self.trust {
            Some(path) => {
                let store = TrustStore::read(path, now)?;
                *warning = store.warning(now);
                Policy {
                    keys: store.keys,
                    threshold: store.threshold,
                    predicate_type: self.predicate_type.clone(),
                    minimum_epoch: store.minimum_epoch,
                    subject: store.subject,
                }
            }
            None => Policy {
                keys: self.keys.iter().map(|path| public_key(path)).collect::<Result<_>>()?,
                threshold: self.threshold.unwrap_or(1),
                predicate_type: self.predicate_type.clone(),
                minimum_epoch: self.minimum_epoch,
                subject: self.subject.clone(),
            },
        };
        let registry = self.access.registry(&self.image)?;
        let verified = verify(&registry, &self.image, &policy, self.platform.as_ref()).await;
        verified.map_err(|error| CliError::from(error).about(&self.image))
    }

    /// Tells it. That nobody could be told changes nothing of what was found.
    async fn tell(&self, receiver: &Option<Receiver>, event: &'static str, reason: &str, output: &Output) {
        let Some(receiver) = receiver else { return };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let report = Report { event, image: self.image.to_string(), reason: reason.to_owned(), host };
        if let Err(error) = receiver.tell(&report).await {
            output.note(format_args!("this could not be reported: {error}"));
        }
    }

    fn print(&self, verified: &Verified, warning: Option<&str>, output: &Output) -> Result {
        let signers: Vec<_> = verified
            .signers
            .iter()
            .map(|own| json!({ "key": own.key.to_string(), "version": own.version, "epoch": own.epoch }))
            .collect();
        let value = json!({
            "valid": true,
            "image": verified.image.to_string(),
            "digest": verified.image.digest().map(|own| own.as_str()),
            "signed": verified.signed.as_str(),
            "signers": signers,
            "warning": warning,
        });
        output.value(&value, || {
            let record = Record::new().row("valid", &verified.image).row("signed", &verified.signed);
            let row = |record: Record, own: &firmseal_oci::Signer| {
                record.row("key", own.key).maybe("version", own.version.as_ref()).maybe("epoch", own.epoch)
            };
            verified.signers.iter().fold(record, row).print()
        })
    }
}
