//! `firmseal countersign`: the owner of devices agrees to a release.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Args;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::ROOT_MAX;
use firmseal_core::{Refusal, Root, Trust};
use firmseal_fleet::Time;
use firmseal_manifest::consent::add_statement;
use firmseal_manifest::{SignedStatement, Statement};
use firmseal_sign::consent;
use firmseal_sign::review::{Difference, Side};
use serde_json::json;

use super::approve::{Agreeing, approver};
use crate::bundle_file::BundleFile;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::record::Record;
use crate::trust;
use crate::units::Span;

/// Agree to a release as the owner of devices, after looking at its bytes
///
/// Devices that have an owner install only what the owner agreed to, if the
/// vendor's root document or the owner's demands it. The bundle is read here
/// as a device would, payloads and all; what is signed names what was read,
/// under the owner's own root. The result is the same bundle with that word
/// in it. Where several of the owner's people must agree, it goes from one
/// to the next.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal countersign gateway-1.5.0.bundle --root root-2.cbor --owner owner-1.cbor \\
      --before gateway-1.4.2.bundle --key pkcs11:token=olga --log consents -o ours.bundle
  firmseal countersign ours.bundle --root root-2.cbor --owner owner-1.cbor \\
      --ssh ~/.ssh/id_ed25519_sk.pub --for 90d -o ours-2.bundle")]
pub struct Countersign {
    /// The vendor's bundle, or one that others have agreed to
    bundle: PathBuf,
    /// The vendor's root document, as devices hold it
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// The owner's root documents, oldest first; the last one is in force
    #[arg(long, value_name = "FILE", required = true)]
    owner: Vec<PathBuf>,
    /// The bundle of the release that devices run now, to show what changes
    #[arg(long, value_name = "BUNDLE")]
    before: Option<PathBuf>,
    /// How long devices without log proofs may install it on this word
    #[arg(long = "for", value_name = "SPAN", default_value = "365d")]
    span: Span,
    #[command(flatten)]
    own: Agreeing,
    /// The bundle to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Countersign {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        crate::newfile::free(&self.output)?;
        let vendor = trust::read(&self.root, ROOT_MAX)?;
        let vendor = decoded(&vendor, &self.root)?;
        let documents = self.owners()?;
        let (Some(newest), Some(path)) = (documents.last(), self.owner.last()) else {
            return Err(CliError::new(Kind::Usage, "name the owner's root document with --owner"));
        };
        let owner = decoded(newest, path)?;
        let carried = BundleFile::open(&self.bundle, None)?;
        let product = carried.spec().product.as_str();
        if !consent::is_demanded(&vendor, &owner, product) {
            return Err(CliError::new(
                Kind::Conflict,
                format_args!("neither root document demands an owner's consent for product {product}"),
            ));
        }
        let now = Time::from(SystemTime::now());
        let revocation = carried.news().revocation.as_deref();
        let revocation = revocation.map(|document| vendor.revocation(document, &RustCrypto)).transpose()?;
        let time = firmseal_core::Time { clock: Some(now.millis() / 1000), floor: 0, leeway: 0 };
        let trusting =
            Trust { owner: Some(&owner), revocation: revocation.as_ref(), time, ..Trust::anchored(&vendor) };
        let verdict = |envelope: &[u8]| consent::ask(carried.spec(), envelope, trusting);
        match verdict(carried.envelope()) {
            // The vendor's part is there, and the owner's is what is missing.
            Err(Refusal::OwnerMissing) => {}
            Ok(()) => return Err(CliError::new(Kind::Conflict, "enough of the owner's people have agreed")),
            Err(refusal) => return Err(CliError::from(refusal).about(self.bundle.display())),
        }
        let statement = self.look(&carried, &owner, now, output)?;
        let (agreement, _) = self.own.agree(&statement).await?;
        let signed = SignedStatement { statement, signatures: vec![agreement] };
        let key = approver(&signed, &owner, &carried.spec().product, None)?;
        let envelope = add_statement(carried.envelope(), &signed)
            .map_err(|error| CliError::new(Kind::Refused, error))?;
        let complete = match verdict(&envelope) {
            Ok(()) => true,
            Err(Refusal::OwnerMissing) => false,
            Err(refusal) => return Err(refusal.into()),
        };
        let mut news = carried.news().clone();
        let new = documents.iter().filter(|document| !carried.news().roots.contains(document));
        news.roots.extend(new.cloned());
        carried.write(&self.output, &news, &envelope)?;
        let manifest = signed.statement.manifest.to_string();
        let value = json!({
            "bundle": self.output,
            "manifest": manifest,
            "key": key.to_string(),
            "complete": complete,
        });
        output.value(&value, || {
            let next = match complete {
                true => "the owner's devices install it",
                false => "more of the owner's people have to agree",
            };
            Record::new()
                .row("agreed to", &manifest)
                .row("key", key)
                .row("bundle", self.output.display())
                .row("next", next)
                .print()
        })
    }

    /// The owner's documents, each vouched for by the one before it.
    fn owners(&self) -> Result<Vec<Vec<u8>>> {
        let mut documents: Vec<Vec<u8>> = Vec::new();
        for path in &self.owner {
            let document = trust::read(path, ROOT_MAX)?.to_vec();
            match documents.last() {
                None => {
                    decoded(&document, path)?;
                }
                Some(before) => {
                    let follows = Root::decode(before)?.successor(&document, &RustCrypto).map(drop);
                    follows.map_err(|refusal| CliError::from(refusal).about(path.display()))?;
                }
            }
            documents.push(document);
        }
        Ok(documents)
    }

    /// Shows what was read, and says it as a Statement.
    fn look(&self, carried: &BundleFile, owner: &Root<'_>, now: Time, output: &Output) -> Result<Statement> {
        let after = Side::read(carried.envelope())?;
        let before = self.before.as_deref().map(|path| BundleFile::open(path, None)).transpose()?;
        let before = before.map(|before| Side::read(before.envelope())).transpose()?;
        let expiry = now.plus(self.span.0).millis() / 1000;
        let mut shown = Record::new()
            .row("product", &after.product)
            .row("version", format_args!("{} on {}", after.version, after.channel))
            .row("sequence", after.sequence)
            .row("epoch", after.epoch)
            .row("manifest", after.manifest);
        for part in carried.parts() {
            shown = shown.row(format!("payload {}", part.name), part.line());
        }
        let difference = Difference { before, after, sboms: [None, None], evidence: Vec::new() };
        match difference.before {
            Some(_) => {
                for line in difference.lines() {
                    shown = shown.row("changes", line);
                }
            }
            None => shown = shown.row("changes", "not compared; --before shows them"),
        }
        let statement =
            consent::statement(carried.envelope(), owner, &carried.headers(), &difference, expiry)?;
        for key in &statement.signers {
            shown = shown.row("signed by", key);
        }
        output.note(shown.row("until", now.plus(self.span.0)).print());
        Ok(statement)
    }
}

/// A root document that its own root role has signed.
fn decoded<'a>(document: &'a [u8], path: &Path) -> Result<Root<'a>> {
    let root = Root::decode(document).and_then(|root| root.verify(&RustCrypto).map(|()| root));
    root.map_err(|refusal| CliError::from(refusal).about(path.display()))
}
