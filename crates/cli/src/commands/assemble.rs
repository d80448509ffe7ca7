//! `firmseal assemble`: a release that nobody has signed yet, in a file.

use std::fs::File;
use std::io::{BufWriter, Read, Seek};
use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_core::Digest;
use firmseal_core::limits::ROOT_MAX;
use firmseal_manifest::ChannelName;
use firmseal_manifest::bundle::{BundleWriter, News};
use firmseal_manifest::ids::parse_digest;
use firmseal_sign::assemble::{Names, assemble};
use semver::Version;
use serde_json::json;

use super::assignment::Assignment;
use super::sign_offline::to_fleet;
use crate::error::{CliError, Result, file};
use crate::newfile::{self, NewFile};
use crate::output::Output;
use crate::record::Record;
use crate::{product_file, trust};

/// Write a release down that people will sign, without a server or a key
///
/// The result is a bundle without signatures: no device installs it. Carry
/// it to the machines of those who sign, with the request that `firmseal
/// ceremony start --release` or `--recovery` makes of it. Images of formats
/// that carry a signature of their own are signed already.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal assemble --product-file gateway.toml --version 1.0.0 --epoch 1 --sequence 1 \\
      --component main=rescue.bin --trust root-1.cbor -o rescue.bundle
  firmseal ceremony start rescue --recovery rescue.bundle --under root-1.cbor")]
pub struct Assemble {
    /// The product: a file as `product create --from` takes it, or what
    /// `product show --json` prints
    #[arg(long, value_name = "FILE")]
    product_file: PathBuf,
    /// The channel
    #[arg(long, default_value = "stable")]
    channel: ChannelName,
    /// The version, for people (semver)
    #[arg(long, value_name = "VERSION")]
    version: Version,
    /// The security epoch
    #[arg(long, value_name = "N")]
    epoch: u64,
    /// The sequence number: above that of every release of the product,
    /// unless it is for recovery, which does not look at it
    #[arg(long, value_name = "N")]
    sequence: u64,
    /// Sign a roll-back ahead: the manifest of the release that must have
    /// been revoked before this one installs
    #[arg(long, value_name = "SHA256", value_parser = manifest)]
    rollback_of: Option<Digest>,
    /// A component and its file
    #[arg(long = "component", value_name = "NAME=FILE", required = true)]
    components: Vec<Assignment>,
    /// A root document that devices should learn first; give all that they
    /// may have missed, oldest first
    #[arg(long = "trust", value_name = "FILE")]
    roots: Vec<PathBuf>,
    /// The bundle to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

fn manifest(text: &str) -> std::result::Result<Digest, &'static str> {
    parse_digest(text)
        .ok_or("a manifest is named by 64 hexadecimal digits; `firmseal release show` prints them")
}

impl Assemble {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let new = NewFile::create(&self.output, newfile::PUBLIC)?;
        let product = to_fleet(product_file::read(&self.product_file)?)?;
        let open = |part: &Assignment| -> Result<(String, File)> {
            let path = Path::new(&part.value);
            Ok((part.name.clone(), File::open(path).map_err(file(path))?))
        };
        let mut files = self.components.iter().map(open).collect::<Result<Vec<_>>>()?;
        let names = Names {
            channel: self.channel,
            version: self.version,
            sequence: self.sequence,
            epoch: self.epoch,
            rollback_of: self.rollback_of,
        };
        let (spec, trees) = assemble(&product, names, &files)?;
        let manifest = spec.assemble()?;
        let roots = self.roots.iter().map(|path| Ok(trust::read(path, ROOT_MAX)?.to_vec()));
        let news = News { roots: roots.collect::<Result<_>>()?, ..News::default() };
        let fail = |error: std::io::Error| CliError::from(error).about(self.output.display());
        let mut writer =
            BundleWriter::begin(BufWriter::new(new), &news, &manifest.seal(&[])?).map_err(fail)?;
        for ((_, input), tree) in files.iter_mut().zip(&trees) {
            writer.blob_head(tree.hash_blocks.len() as u64).map_err(fail)?;
            writer.blob_piece(&tree.hash_blocks).map_err(fail)?;
            writer.blob_head(tree.tree.size()).map_err(fail)?;
            input.rewind()?;
            let mut piece = vec![0; 1 << 20];
            loop {
                match input.read(&mut piece)? {
                    0 => break,
                    count => writer.blob_piece(&piece[..count]).map_err(fail)?,
                }
            }
        }
        // A file that grew or shrank meanwhile shows here.
        let written = writer.finish().map_err(fail)?;
        written.into_inner().map_err(|error| fail(error.into_error()))?.finish()?;
        let value = json!({
            "bundle": self.output,
            "product": spec.product,
            "version": spec.version.to_string(),
            "sequence": spec.sequence,
            "manifest": manifest.digest().to_string(),
        });
        output.value(&value, || {
            Record::new()
                .row("assembled", format_args!("{} {}", spec.product, spec.version))
                .row("sequence", spec.sequence)
                .row("manifest", manifest.digest())
                .row("bundle", self.output.display())
                .row("signed by", "nobody yet")
                .print()
        })
    }
}
