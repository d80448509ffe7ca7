//! Operators: the typed client, for tests that need answers rather than a
//! terminal.

use std::future::Future;
use std::path::Path;

use bytes::Bytes;
use firmseal_api::client::{Client, ClientError};
use firmseal_api::encoding::{Page, PageQuery};
use firmseal_api::registry::CreateUpload;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::ArtifactId;
use tokio::runtime::Runtime;

/// An operator with a connection.
pub struct Operator {
    /// The client.
    pub client: Client,
    runtime: Runtime,
}

impl Operator {
    /// The first operator of a place whose server is at `url`.
    pub fn new(place: &Path, url: &str) -> Operator {
        let read = |name: &str| std::fs::read(place.join(name)).unwrap();
        let token = String::from_utf8(read("operator.token")).unwrap();
        let client =
            Client::builder(url).authorities(&read("tls/server.pem")).token(token.trim()).build().unwrap();
        Operator { client, runtime: Runtime::new().unwrap() }
    }

    /// Waits for an answer.
    pub fn wait<T>(&self, answer: impl Future<Output = T>) -> T {
        self.runtime.block_on(answer)
    }

    /// Uploads an artifact in pieces.
    pub fn upload(&self, bytes: &[u8]) -> Result<ArtifactId, ClientError> {
        let operator = self.client.operator();
        self.wait(async {
            let sha256 = ArtifactId(RustCrypto.digest(bytes));
            let wish = CreateUpload { size: bytes.len() as u64, sha256 };
            let upload = operator.create_upload(&wish).await?;
            let mut offset = upload.offset;
            while offset < upload.size {
                let end = (offset + (1 << 20)).min(upload.size);
                let piece = Bytes::copy_from_slice(&bytes[offset as usize..end as usize]);
                offset = operator.append(upload.id, offset, piece).await?.offset;
            }
            Ok(operator.complete(upload.id).await?.id)
        })
    }

    /// Every item of a list.
    pub fn all<T>(&self, mut page: impl AsyncFnMut(PageQuery) -> Result<Page<T>, ClientError>) -> Vec<T> {
        self.wait(async {
            let (mut items, mut after) = (Vec::new(), None);
            loop {
                let found = page(PageQuery { after, limit: Some(500) }).await.unwrap();
                items.extend(found.items);
                match found.next {
                    Some(next) => after = Some(next),
                    None => return items,
                }
            }
        })
    }
}
