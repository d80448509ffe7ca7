//! `firmseal release import`: a release that was signed offline.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use firmseal_api::client::Client;
use firmseal_core::Envelope;
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_manifest::{ProductId, bundle};

use super::release::print;
use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;
use crate::upload::{Source, upload};

/// Take in a release that was signed offline
///
/// A bundle brings its payloads; those of an envelope alone are given with
/// --payload or are in the registry already. The server verifies it as a
/// device would before anybody is offered it.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal release import --product gateway gateway.bundle --build \"$CI_PIPELINE_ID\"
  firmseal release import --product gateway gateway.suit --payload firmware.bin")]
pub struct Import {
    /// The bundle or envelope
    file: PathBuf,
    /// The product it is for
    #[arg(long, value_name = "NAME")]
    product: ProductId,
    /// A payload of an envelope
    #[arg(long, value_name = "FILE")]
    payload: Vec<PathBuf>,
    /// The CI's id of the build
    #[arg(long, value_name = "ID", default_value = "")]
    build: String,
    /// The commit it was built from
    #[arg(long, value_name = "ID", default_value = "")]
    commit: String,
}

impl Import {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> Result {
        let mut input = BufReader::new(File::open(&self.file).map_err(file(&self.file))?);
        let mut magic = [0; 1 + bundle::MAGIC.len()];
        let is_bundle = input.read_exact(&mut magic).is_ok() && bundle::is_bundle(&magic);
        input.rewind().map_err(file(&self.file))?;
        let envelope = if is_bundle {
            if !self.payload.is_empty() {
                return Err(CliError::new(Kind::Usage, "a bundle holds its payloads; leave --payload out"));
            }
            self.bundle(input, client, output).await?
        } else {
            let mut envelope = Vec::new();
            input.take(ENVELOPE_MAX as u64 + 1).read_to_end(&mut envelope).map_err(file(&self.file))?;
            self.decodes(&envelope)?;
            for payload in &self.payload {
                upload(client, Source::open(payload)?, output).await?;
            }
            envelope
        };
        let operator = client.operator();
        let release =
            operator.import_release(&self.product, &self.build, &self.commit, Bytes::from(envelope)).await?;
        output.value(&release, || print(&release).print())
    }

    /// Uploads the payloads of a bundle. Hash blocks stay behind: the server
    /// builds its own.
    async fn bundle(&self, mut input: BufReader<File>, client: &Client, output: &Output) -> Result<Vec<u8>> {
        let refused = |error| CliError::new(Kind::Refused, error).about(self.file.display());
        let head = bundle::read_head(&mut input).map_err(refused)?;
        self.decodes(&head.envelope)?;
        let end = input.get_ref().metadata().map_err(file(&self.file))?.len();
        let mut offset = head.offset;
        let mut is_payload = false;
        while offset < end {
            input.seek(SeekFrom::Start(offset)).map_err(file(&self.file))?;
            let (head, size) = bundle::read_blob_size(&mut input).map_err(refused)?;
            let start = offset + head;
            let next = start.checked_add(size).filter(|next| *next <= end);
            offset =
                next.ok_or_else(|| CliError::new(Kind::Refused, "is cut off").about(self.file.display()))?;
            if is_payload {
                let part = input.get_ref().try_clone().map_err(file(&self.file))?;
                upload(client, Source::part(part, &self.file, start, size)?, output).await?;
            }
            is_payload = !is_payload;
        }
        Ok(head.envelope)
    }

    /// A file that is no envelope is found before anything is sent.
    fn decodes(&self, envelope: &[u8]) -> Result {
        match Envelope::decode(envelope) {
            Ok(_) => Ok(()),
            Err(refusal) => Err(CliError::from(refusal).about(self.file.display())),
        }
    }
}
