//! Trust documents as commands need them: read from files and servers, and
//! verified before anything is said or built on them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use firmseal_api::client::Client;
use firmseal_core::Refusal;
use firmseal_core::limits::ROOT_MAX;
use firmseal_sign::Chain;
use http::StatusCode;

use crate::error::{CliError, Kind, Result, file};

/// Most root documents that a server is asked for.
const ROOTS_MAX: u64 = 1000;

/// Reads a document of at most so many bytes.
pub fn read(path: &Path, most: usize) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let input = File::open(path).map_err(file(path))?;
    input.take(most as u64 + 1).read_to_end(&mut bytes).map_err(file(path))?;
    if bytes.len() > most {
        return Err(CliError::new(Kind::Usage, format_args!("is longer than {most} bytes"))
            .about(path.display())
            .hint("it is no trust document"));
    }
    Ok(bytes.into())
}

/// What a server serves, behind this anchor: whoever signs must not take a
/// server's word for what came before.
pub async fn served_behind(client: &Client, anchor: Option<&Path>) -> Result<Chain> {
    begins_with(served(client).await?, anchor)
}

/// A chain of documents from elsewhere, behind this anchor.
pub fn chain_behind(roots: Vec<Bytes>, revocation: Option<Bytes>, anchor: Option<&Path>) -> Result<Chain> {
    let chain = Chain::verify(roots, revocation)?.ok_or_else(|| CliError::from(Refusal::RoleMissing))?;
    begins_with(chain, anchor)
}

fn begins_with(chain: Chain, anchor: Option<&Path>) -> Result<Chain> {
    let Some(path) = anchor else { return Ok(chain) };
    if read(path, ROOT_MAX)? != chain.roots()[0] {
        return Err(CliError::new(Kind::Refused, "is not where the server's root documents begin")
            .about(path.display())
            .hint("is this the server of these devices? sign nothing before that is known"));
    }
    Ok(chain)
}

/// What a server serves: its chain of root documents and its newest
/// revocation, verified step by step from its own first one.
pub async fn served(client: &Client) -> Result<Chain> {
    let mut roots = Vec::new();
    for version in 1..=ROOTS_MAX {
        match client.operator().root(version).await {
            Ok(document) => roots.push(document),
            Err(error) if version > 1 && error.status() == Some(StatusCode::NOT_FOUND) => break,
            Err(error) => return Err(error.into()),
        }
    }
    let revocation = match client.operator().revocation().await {
        Ok(document) => Some(document),
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => None,
        Err(error) => return Err(error.into()),
    };
    chain_behind(roots, revocation, None)
}
