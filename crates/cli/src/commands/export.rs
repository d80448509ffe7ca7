//! `firmseal release export`: a release in one file.

use std::io::BufWriter;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use firmseal_api::client::{Client, ClientError};
use firmseal_api::signing::{Payload, Release};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::limits::{FRESHNESS_MAX, ROOT_MAX};
use firmseal_core::{BlockSize, Tree};
use firmseal_manifest::ReleaseId;
use firmseal_manifest::TreeBuilder;
use firmseal_manifest::bundle::{BundleWriter, News, ROOTS_MAX};
use http::StatusCode;
use serde_json::json;

use super::release::fetch_envelope;
use crate::download::Incoming;
use crate::error::{CliError, Kind, Result, file};
use crate::newfile::{self, NewFile};
use crate::output::Output;
use crate::progress::Progress;
use crate::units::Size;

/// Write a release into one file, for devices without a network
///
/// The bundle carries every root document from the first one on, the newest
/// revocation, the envelope and all payloads: a device that missed everything
/// comes back by this one file. Every byte of a payload is checked against
/// the record of the release on its way; whether a device will accept it is
/// what `firmseal verify` says.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal release export rel-0197c0de-0000-7000-8000-000000000001 -o gateway.bundle
  firmseal verify --root root.cbor gateway.bundle
  firmseal-agent install gateway.bundle   on the device, from a USB stick")]
pub struct Export {
    /// The release
    release: ReleaseId,
    /// The file to write; it must not exist
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Root documents to put in, oldest first; the server's if left out
    #[arg(long, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// Root documents of the devices' owner to put in besides, oldest first
    #[arg(long, value_name = "FILE")]
    owner_root: Vec<PathBuf>,
    /// Another freshness document to put in than the server's newest
    #[arg(long, value_name = "FILE")]
    freshness: Option<PathBuf>,
}

impl Export {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> Result {
        let (release, envelope) = fetch_envelope(client, self.release).await?;
        let news = self.news(client).await?;
        let trees = trees(client, &release).await?;
        let total = trees.iter().map(|tree| tree.hash_bytes() + tree.size()).sum();
        let new = NewFile::create(&self.output, newfile::PUBLIC)?;
        let mut writer =
            BundleWriter::begin(BufWriter::new(new), &news, &envelope).map_err(file(&self.output))?;
        let mut bar = Bar { progress: Progress::bytes(output, "exporting", total), done: 0 };
        for (payload, tree) in release.components.iter().zip(&trees) {
            self.component(client, payload, tree, &mut writer, &mut bar).await?;
        }
        let new = writer.finish().map_err(file(&self.output))?;
        // Flushed just now; only an error of that flush could be in here.
        new.into_inner().map_err(|error| file(&self.output)(error.into_error()))?.finish()?;
        let size = std::fs::metadata(&self.output).map_err(file(&self.output))?.len();
        let value = json!({
            "bundle": self.output,
            "size": size,
            "release": release.id,
            "root_documents": news.roots.len(),
            "revocation": news.revocation.is_some(),
            "freshness": news.freshness.is_some(),
        });
        output.value(&value, || {
            format!("{}: {} {} in {}\n", self.output.display(), release.product, release.version, Size(size))
        })
    }

    /// What a device may have missed.
    async fn news(&self, client: &Client) -> Result<News> {
        let operator = client.operator();
        let mut roots = self.roots(client).await?;
        roots.extend(documents(&self.owner_root)?);
        let freshness = match &self.freshness {
            Some(path) => Some(crate::trust::read(path, FRESHNESS_MAX)?.to_vec()),
            None => if_any(operator.freshness().await)?,
        };
        Ok(News { roots, revocation: if_any(operator.revocation().await)?, freshness })
    }

    /// The chain of root documents, for devices that trust an older one.
    async fn roots(&self, client: &Client) -> Result<Vec<Vec<u8>>> {
        if !self.root.is_empty() {
            return documents(&self.root);
        }
        let mut roots = Vec::new();
        for version in 1..=ROOTS_MAX {
            match if_any(client.operator().root(version).await)? {
                Some(document) => roots.push(document),
                None => break,
            }
        }
        Ok(roots)
    }

    /// Hash blocks, then the payload. The tree is built anew over the bytes
    /// that come, so both are known to belong to each other and to the
    /// record before the file gets its name.
    async fn component(
        &self,
        client: &Client,
        payload: &Payload,
        tree: &Tree,
        writer: &mut BundleWriter<BufWriter<NewFile>>,
        bar: &mut Bar,
    ) -> Result {
        let refused = |what: &str| {
            CliError::new(Kind::Refused, format_args!("component {}: {what}", payload.component))
                .hint("nothing was written; the server's store may be damaged")
        };
        let mut hash_blocks = Incoming::new(client, format!("/{}", payload.tree), tree.hash_bytes());
        writer.blob_head(tree.hash_bytes()).map_err(file(&self.output))?;
        while let Some(piece) = hash_blocks.piece().await.map_err(withdrawn)? {
            writer.blob_piece(&piece).map_err(file(&self.output))?;
            bar.advance(piece.len());
        }
        let mut content = Incoming::new(client, format!("/{}", payload.uri), tree.size());
        let mut builder = TreeBuilder::new(tree.block());
        writer.blob_head(tree.size()).map_err(file(&self.output))?;
        while let Some(piece) = content.piece().await.map_err(withdrawn)? {
            writer.blob_piece(&piece).map_err(file(&self.output))?;
            builder.update(&piece);
            bar.advance(piece.len());
        }
        if content.digest() != payload.payload.0 {
            return Err(refused("the payload is not the recorded one"));
        }
        let built = builder.finish()?;
        if built.tree != *tree || RustCrypto.digest(&built.hash_blocks) != hash_blocks.digest() {
            return Err(refused("the block tree does not belong to the payload"));
        }
        Ok(())
    }
}

/// Root documents from files.
fn documents(files: &[PathBuf]) -> Result<Vec<Vec<u8>>> {
    files.iter().map(|path| Ok(crate::trust::read(path, ROOT_MAX)?.to_vec())).collect()
}

/// A document that a server may not have.
fn if_any(answer: std::result::Result<Bytes, ClientError>) -> Result<Option<Vec<u8>>> {
    match answer {
        Ok(document) => Ok(Some(document.to_vec())),
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Payloads of a withdrawn release are not handed out.
fn withdrawn(error: CliError) -> CliError {
    match error.kind {
        Kind::NotFound => {
            error.hint("payloads are handed out only for a verified release; was it withdrawn?")
        }
        _ => error,
    }
}

/// The trees of a release's payloads. The product has the block sizes.
async fn trees(client: &Client, release: &Release) -> std::result::Result<Vec<Tree>, CliError> {
    let product = client
        .operator()
        .product(&release.product)
        .await
        .map_err(|error: ClientError| CliError::from(error))?;
    let tree = |payload: &Payload| {
        let component = product.components.iter().find(|component| component.name == payload.component);
        let block = component.and_then(|component| BlockSize::from_bytes(u64::from(component.block_size)));
        let block = block.ok_or_else(|| {
            CliError::new(
                Kind::Unexpected,
                format_args!("the product has no component {}", payload.component),
            )
        })?;
        Ok(Tree::new(payload.size, block, payload.tree_root.0)?)
    };
    release.components.iter().map(tree).collect()
}

/// One bar over all blobs.
struct Bar {
    progress: Progress,
    done: u64,
}

impl Bar {
    fn advance(&mut self, bytes: usize) {
        self.done += bytes as u64;
        self.progress.set(self.done);
    }
}
