//! Where an approver reads a signing request: at the server, or in a folder
//! that was carried from it. Neither is believed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_api::encoding::PageQuery;
use firmseal_api::registry::Product;
use firmseal_api::requests::SigningRequest;
use firmseal_core::limits::{ENVELOPE_MAX, ROOT_MAX};
use firmseal_evidence::materials::SBOM_MAX;
use firmseal_manifest::{ArtifactId, ProductId, RequestId};
use firmseal_sign::Chain;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::download::Incoming;
use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::trust;

/// Longest request and product, as JSON.
const TEXT_MAX: usize = 1 << 20;
/// Bytes of a payload that are read at once.
const PIECE: usize = 256 * 1024;
/// Most root documents in a folder.
const ROOTS_MAX: u64 = 1000;

/// Where a request is read.
pub enum Source {
    /// The server of the profile.
    Server(Box<Client>),
    /// A folder:
    ///
    /// ```text
    /// request.json      the signing request, as the server tells it
    /// product.json      its product
    /// manifest.suit     the envelope, without signatures
    /// previous.suit     the envelope of the release before, if there is one
    /// SHA256.payload    each payload
    /// SHA256.sbom       bills of materials of both, where there are any
    /// root-N.cbor       every root document
    /// revocation.cbor   the newest revocation, if there is one
    /// ```
    Folder(PathBuf),
}

/// A payload on its way.
pub enum Payload<'a> {
    /// From the server.
    Incoming(Box<Incoming<'a>>),
    /// From a folder.
    File(PathBuf, File),
}

impl Payload<'_> {
    /// The next piece, or `None` at the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        match self {
            Payload::Incoming(incoming) => incoming.piece().await,
            Payload::File(path, input) => {
                let mut piece = Vec::new();
                input.take(PIECE as u64).read_to_end(&mut piece).map_err(file(path))?;
                Ok((!piece.is_empty()).then(|| piece.into()))
            }
        }
    }
}

impl Source {
    /// The request. At a server it is named; a folder has one.
    pub async fn request(&self, id: Option<RequestId>) -> Result<SigningRequest> {
        match (self, id) {
            (Source::Server(client), Some(id)) => Ok(client.operator().signing_request(id).await?),
            (Source::Server(_), None) => Err(CliError::new(Kind::Usage, "name the signing request")),
            (Source::Folder(folder), _) => read_json(&folder.join("request.json")),
        }
    }

    /// The trust documents, verified step by step; with an anchor, from it.
    pub async fn chain(&self, anchor: Option<&Path>) -> Result<Chain> {
        match self {
            Source::Server(client) => trust::served_behind(client, anchor).await,
            Source::Folder(folder) => {
                let mut roots = Vec::new();
                for version in 1..=ROOTS_MAX {
                    match optional(&folder.join(format!("root-{version}.cbor")), ROOT_MAX)? {
                        Some(document) => roots.push(document),
                        None => break,
                    }
                }
                let revocation = optional(&folder.join("revocation.cbor"), ROOT_MAX)?;
                trust::chain_behind(roots, revocation, anchor)
            }
        }
    }

    /// The envelope, without signatures.
    pub async fn unsigned(&self, id: RequestId) -> Result<Bytes> {
        match self {
            Source::Server(client) => Ok(client.operator().unsigned_envelope(id).await?),
            Source::Folder(folder) => trust::read(&folder.join("manifest.suit"), ENVELOPE_MAX),
        }
    }

    /// The product: how its payloads are read.
    pub async fn product(&self, id: &ProductId) -> Result<Product> {
        match self {
            Source::Server(client) => Ok(client.operator().product(id).await?),
            Source::Folder(folder) => read_json(&folder.join("product.json")),
        }
    }

    /// A payload of so many bytes.
    pub fn payload(&self, id: RequestId, payload: ArtifactId, size: u64) -> Result<Payload<'_>> {
        match self {
            Source::Server(client) => {
                let path = format!("/v1/requests/{id}/payloads/{payload}");
                Ok(Payload::Incoming(Box::new(Incoming::new(client, path, size))))
            }
            Source::Folder(folder) => {
                let path = folder.join(format!("{payload}.payload"));
                let input = File::open(&path).map_err(file(&path))?;
                Ok(Payload::File(path, input))
            }
        }
    }

    /// A bill of materials of the request.
    pub async fn sbom(&self, id: RequestId, sbom: ArtifactId) -> Result<Bytes> {
        match self {
            Source::Server(client) => Ok(client.operator().sbom(id, sbom).await?),
            Source::Folder(folder) => trust::read(&folder.join(format!("{sbom}.sbom")), SBOM_MAX),
        }
    }

    /// The envelope of a release before.
    pub async fn previous(&self, product: &ProductId, manifest: ArtifactId) -> Result<Option<Bytes>> {
        let client = match self {
            Source::Server(client) => client,
            Source::Folder(folder) => return optional(&folder.join("previous.suit"), ENVELOPE_MAX),
        };
        let mut page = PageQuery::default();
        loop {
            let answer = client.operator().releases(Some(product), &page).await?;
            if let Some(release) = answer.items.iter().find(|release| release.manifest == manifest) {
                return Ok(Some(client.operator().envelope(release.id).await?));
            }
            match answer.next {
                Some(next) => page.after = Some(next),
                None => return Ok(None),
            }
        }
    }

    /// Copies all of it into a new folder.
    pub async fn copy(&self, id: RequestId, folder: &Path, output: &Output) -> Result<SigningRequest> {
        let request = self.request(Some(id)).await?;
        newfile::free(folder)?;
        std::fs::create_dir(folder).map_err(file(folder))?;
        let put = |name: &str, bytes: &[u8]| newfile::write(&folder.join(name), newfile::PUBLIC, bytes);
        put("request.json", &json(&request)?)?;
        put("product.json", &json(&self.product(&request.product).await?)?)?;
        put("manifest.suit", &self.unsigned(id).await?)?;
        if let Some(previous) = request.previous
            && let Some(envelope) = self.previous(&request.product, previous).await?
        {
            put("previous.suit", &envelope)?;
        }
        let mut sboms: Vec<_> = [request.sbom, request.previous_sbom].into_iter().flatten().collect();
        sboms.dedup();
        for sbom in sboms {
            put(&format!("{sbom}.sbom"), &self.sbom(id, sbom).await?)?;
        }
        let chain = self.chain(None).await?;
        for (document, version) in chain.roots().iter().zip(1u64..) {
            put(&format!("root-{version}.cbor"), document)?;
        }
        if let Some(revocation) = chain.revocation() {
            put("revocation.cbor", revocation)?;
        }
        for component in &request.components {
            output.note(format_args!("copying component {}: {} bytes", component.component, component.size));
            let path = folder.join(format!("{}.payload", component.payload));
            if path.exists() {
                // Two components may have one payload.
                continue;
            }
            let mut payload = self.payload(id, component.payload, component.size)?;
            let mut copy = newfile::NewFile::create(&path, newfile::PUBLIC)?;
            while let Some(piece) = payload.piece().await? {
                std::io::Write::write_all(&mut copy, &piece).map_err(file(&path))?;
            }
            copy.finish()?;
        }
        Ok(request)
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| CliError::new(Kind::Unexpected, error))
}

/// Reads JSON that somebody carried.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = trust::read(path, TEXT_MAX)?;
    serde_json::from_slice(&bytes).map_err(|error| {
        CliError::new(Kind::Usage, error).about(path.display()).hint("was it carried whole?")
    })
}

fn optional(path: &Path, most: usize) -> Result<Option<Bytes>> {
    match path.try_exists().map_err(file(path))? {
        true => trust::read(path, most).map(Some),
        false => Ok(None),
    }
}
