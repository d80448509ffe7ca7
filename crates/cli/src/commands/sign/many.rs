//! Several files: asked for together, signed or refused each by itself.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use firmseal_api::client::Client;
use firmseal_api::signatures::{
    BATCH_MAX, CreateSignature, CreateSignatures, PARTS_MAX, SignatureAnswer, SignatureRequest,
    SignatureState,
};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_formats::Format;
use firmseal_manifest::{ArtifactId, PublicKey};
use serde::Serialize;
use tokio::time::{Duration, Instant};

use super::service::Service;
use super::{POLL, Part, Sign, end, receive};
use crate::commands::content::derived_key;
use crate::commands::request_record::state;
use crate::error::{CliError, Kind, Result};
use crate::newfile;
use crate::output::Output;
use crate::upload::{Source, upload};

/// What came of one file.
#[derive(Serialize)]
struct Told<'a> {
    file: &'a Path,
    /// What was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<SignatureRequest>,
    /// Why it is not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A file, and where what is signed goes.
struct One<'a> {
    file: &'a Path,
    output: Option<(PathBuf, Part)>,
}

/// What is asked for at once: all of it, or parts that name each other, so
/// that they are one change of a token that is good for one.
fn parts(wishes: &[CreateSignature]) -> Result<Vec<CreateSignatures>> {
    let chunks = wishes.chunks(BATCH_MAX);
    if chunks.len() > PARTS_MAX {
        let what = format!("{} files are more than are signed at once", wishes.len());
        let hint = format!("sign at most {} with one command", BATCH_MAX * PARTS_MAX);
        return Err(CliError::new(Kind::Usage, what).hint(hint));
    }
    let mut parts = Vec::new();
    if chunks.len() > 1 {
        for chunk in chunks.clone() {
            let text = serde_json::to_vec(chunk).map_err(|error| CliError::new(Kind::Unexpected, error))?;
            parts.push(RustCrypto.digest(&text).to_string());
        }
    }
    Ok(chunks.map(|chunk| CreateSignatures { requests: chunk.to_vec(), parts: parts.clone() }).collect())
}

impl Sign {
    /// Has every file signed. The outcome is that of the first one that
    /// failed; the others are done all the same.
    pub(super) async fn sign_all(
        &self,
        mut service: Service,
        format: &'static dyn Format,
        public: Option<PublicKey>,
        evidence: Vec<ArtifactId>,
        output: &Output,
    ) -> Result {
        let all = self.places(format)?;
        let mut wishes = Vec::with_capacity(all.len());
        for one in &all {
            let artifact = upload(&service.client, Source::open(one.file)?, output).await?.id;
            wishes.push(self.order.wish(artifact, evidence.clone()));
        }
        let until = Instant::now() + if self.no_wait { Duration::ZERO } else { self.wait.0 };
        let mut answers = Vec::with_capacity(all.len());
        let key = match &self.order.idempotency_key {
            Some(key) => key.clone(),
            None => derived_key(&wishes)?,
        };
        for part in parts(&wishes)? {
            let first = until.saturating_duration_since(Instant::now()).min(POLL);
            let asked =
                async |client: &Client| client.operator().create_part(&key, part.clone(), first).await;
            answers.extend(service.ask(asked).await?);
        }
        let (mut told, mut failed) = (Vec::with_capacity(all.len()), Vec::new());
        for (one, answer) in all.iter().zip(answers) {
            let (request, outcome) = match answer {
                SignatureAnswer::Problem(problem) => {
                    let error = firmseal_api::client::ClientError::Refused(Box::new(problem));
                    (None, Err(CliError::from(error)))
                }
                SignatureAnswer::Request(request) => {
                    let mut request = *request;
                    if !self.no_wait {
                        request = service.wait(request, until, output).await?;
                    }
                    let outcome =
                        self.settle(&mut service, format, one, &request, public.as_ref(), output).await;
                    (Some(request), outcome)
                }
            };
            let error = outcome.as_ref().err().map(|error| error.message.clone());
            failed.extend(outcome.err().map(|error| error.about(one.file.display())));
            let written = one.output.as_ref().filter(|(path, _)| error.is_none() && path.exists());
            told.push(Told {
                file: one.file,
                output: written.map(|(path, _)| path.as_path()),
                request,
                error,
            });
        }
        output.table(&told, &["FILE", "STATE", "REQUEST", "WHY"], |told| {
            let request = told.request.as_ref();
            vec![
                told.file.display().to_string(),
                request.map_or("-".to_owned(), state),
                request.map_or("-".to_owned(), |request| request.id.to_string()),
                told.error.clone().unwrap_or_default(),
            ]
        })?;
        match (failed.len(), failed.into_iter().next()) {
            (_, None) => Ok(()),
            (1, Some(error)) => Err(error),
            (count, Some(mut error)) => {
                error.message =
                    format!("{count} of {} files are not signed; the first: {}", told.len(), error.message);
                Err(error)
            }
        }
    }

    /// Takes what came of one file.
    async fn settle(
        &self,
        service: &mut Service,
        format: &'static dyn Format,
        one: &One<'_>,
        request: &SignatureRequest,
        public: Option<&PublicKey>,
        output: &Output,
    ) -> Result {
        if request.state == SignatureState::Signed {
            let wanted = one.output.iter().map(|(path, part)| (path.as_path(), *part)).collect();
            receive(service, format, one.file, request, public, wanted, output).await?;
        }
        end(request, self.no_wait)
    }

    /// Where what is signed goes; nothing is asked for unless each has a free
    /// place of its own.
    fn places(&self, format: &'static dyn Format) -> Result<Vec<One<'_>>> {
        if self.output.is_some() || self.signature.is_some() {
            let what = "--output and --signature name one file, and there are several to sign";
            return Err(CliError::new(Kind::Usage, what).hint("name a directory with --into"));
        }
        let Some(directory) = &self.into else {
            return Ok(self.files.iter().map(|file| One { file, output: None }).collect());
        };
        let mut taken: HashMap<PathBuf, &Path> = HashMap::new();
        let mut all = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let name = file.file_name().ok_or_else(|| {
                CliError::new(Kind::Usage, "is not the name of a file").about(file.display())
            })?;
            let mut name = name.to_owned();
            let part = match (format.embedding(), format.beside()) {
                (Some(_), _) => Part::Signed,
                (None, beside) => {
                    name.push(".sig");
                    if beside.is_some() { Part::Signed } else { Part::Signature }
                }
            };
            let path = directory.join(name);
            if let Some(other) = taken.insert(path.clone(), file) {
                let what = format!(
                    "{} and {} would both become {}",
                    other.display(),
                    file.display(),
                    path.display()
                );
                return Err(CliError::new(Kind::Usage, what).hint("sign them into two directories"));
            }
            newfile::free(&path)?;
            all.push(One { file, output: Some((path, part)) });
        }
        std::fs::create_dir_all(directory).map_err(crate::error::file(directory))?;
        Ok(all)
    }
}
