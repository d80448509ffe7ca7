//! `firmseal timestamp`: stamps, and a small authority of one's own.

mod service;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use firmseal_fleet::Time;
use firmseal_keys::scheme::holds;
use firmseal_manifest::{Digest, Purpose, Tbs};
use firmseal_timestamp::certificate::Unsigned;
use firmseal_timestamp::{Authorities, Authority, TOKEN_MAX, Wanted, response, verify};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::own_key::{KeyAndLog, OwnKey, sha256};
use crate::record::Record;
use crate::timestamps::{Source, random_bytes};
use crate::trust;

/// The policy of an authority that names none: "any policy" of nobody's.
const POLICY: &str = "1.3.6.1.4.1.13762.3";
/// How far the machine's clock is said to be off.
const ACCURACY: u64 = 1000;

/// Get and check timestamps (RFC 3161), and be a small authority
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal timestamp get firmware.sig --url http://tsa.example.com/tsr --authority tsa.pem -o firmware.tst
  firmseal timestamp verify firmware.sig firmware.tst --authority tsa.pem
  firmseal timestamp init --name 'Timestamps of the lab' --key file:tsa.key --log tsa-log -o tsa.pem")]
pub enum Timestamps {
    /// Have an authority stamp a file
    Get(Get),
    /// Check a timestamp of a file
    Verify(Verify),
    /// Make a certificate for an authority of one's own
    Init(Init),
    /// Answer one request that was carried here in a file
    Answer(Answer),
    /// Answer requests over HTTP
    Serve(Serve),
}

/// Have an authority stamp a file
///
/// Only the SHA-256 of the file is sent. What comes back is checked before
/// it is written.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal timestamp get firmware.sig --url http://tsa.example.com/tsr --authority tsa.pem -o firmware.tst")]
pub struct Get {
    /// The file
    file: PathBuf,
    /// The authority's address
    #[arg(long)]
    url: String,
    /// Certificates that are believed, PEM
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,
    /// Authorities of its TLS certificate, where the address is `https:`
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,
    /// The policy to ask for, in dotted numbers
    #[arg(long, value_name = "OID")]
    policy: Option<String>,
    /// The token to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Check a timestamp of a file
///
/// Takes tokens and whole responses, of any authority. Certificates count
/// at the time that the timestamp tells.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal timestamp verify firmware.sig firmware.tst --authority tsa.pem")]
pub struct Verify {
    /// The file that was stamped
    file: PathBuf,
    /// The token or response
    token: PathBuf,
    /// Certificates that are believed, PEM
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,
}

/// Make a certificate for an authority of one's own
///
/// Signed by its own key, on P-256 or P-384, and good for timestamps alone.
/// Whoever is to believe the authority is given this certificate.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal keys generate --algorithm p256 file:tsa.key
  firmseal timestamp init --name 'Timestamps of the lab' --key file:tsa.key --log tsa-log -o tsa.pem")]
pub struct Init {
    /// Its name: letters, digits, spaces and .-_
    #[arg(long)]
    name: String,
    /// For how many days it is good
    #[arg(long, value_name = "N", default_value_t = 3650)]
    days: u32,
    #[command(flatten)]
    signing: KeyAndLog,
    /// The certificate to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// What an authority works with.
#[derive(Args)]
struct Own {
    #[command(flatten)]
    signing: KeyAndLog,
    /// Its certificate, PEM
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// The policy under which it stamps, in dotted numbers
    #[arg(long, value_name = "OID", default_value = POLICY)]
    policy: String,
}

/// Answer one request that was carried here in a file
#[derive(Args)]
#[command(after_help = "Examples:
  openssl ts -query -data firmware.sig -sha256 -cert -out firmware.tsq
  firmseal timestamp answer firmware.tsq --key file:tsa.key --log tsa-log --certificate tsa.pem -o firmware.tsr")]
pub struct Answer {
    /// The request
    request: PathBuf,
    #[command(flatten)]
    own: Own,
    /// The response to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Answer requests over HTTP
///
/// Plain HTTP: what it says is signed. Runs until SIGINT or SIGTERM.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal timestamp serve --key file:tsa.key --secret file:tsa.pass --log tsa-log --certificate tsa.pem \\
      --listen 0.0.0.0:3161")]
pub struct Serve {
    #[command(flatten)]
    own: Own,
    /// The address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:3161")]
    listen: SocketAddr,
}

impl Timestamps {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        match self {
            Timestamps::Get(command) => command.run(output).await,
            Timestamps::Verify(command) => command.run(output),
            Timestamps::Init(command) => command.run(output).await,
            Timestamps::Answer(command) => command.run(output).await,
            Timestamps::Serve(command) => command.run(output).await,
        }
    }
}

fn digest(path: &Path) -> Result<Digest> {
    let mut opened = std::fs::File::open(path).map_err(file(path))?;
    sha256(&mut opened).map_err(file(path))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(file(path))
}

impl Get {
    async fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let tls = self.tls.as_deref().map(read).transpose()?;
        let source = Source::new(&self.url, &read(&self.authority)?, tls.as_deref(), self.policy)?;
        let token = source.stamp(digest(&self.file)?).await;
        let token =
            token.map_err(|why| CliError::new(Kind::Unavailable, format_args!("no timestamp: {why}")))?;
        newfile::write(&self.output, newfile::PUBLIC, &token)?;
        show(&self.file, &token, &self.authority, output)
    }
}

impl Verify {
    fn run(self, output: &Output) -> Result {
        let bytes = trust::read(&self.token, TOKEN_MAX)?;
        // A response begins with a status, a token with an identifier.
        let token = response(&bytes).unwrap_or(bytes.to_vec());
        show(&self.file, &token, &self.authority, output)
    }
}

/// Checks a token, and says what it says.
fn show(stamped: &Path, token: &[u8], authority: &Path, output: &Output) -> Result {
    let authorities = Authorities::from_pem(&read(authority)?)
        .map_err(|error| CliError::from(error).about(authority.display()))?;
    let digest = digest(stamped)?;
    let wanted = Wanted { digest: &digest, nonce: None, policy: None };
    let stamp = verify(token, wanted, &authorities, &holds)?;
    let value = json!({
        "time": stamp.time,
        "accuracy_ms": stamp.accuracy,
        "policy": stamp.policy,
        "serial": stamp.serial,
        "signer": stamp.signer,
        "digest": digest.to_string(),
    });
    output.value(&value, || {
        Record::new()
            .row("existed at", stamp.time)
            .row("give or take", format_args!("{} ms", stamp.accuracy))
            .row("says", &stamp.signer)
            .row("policy", &stamp.policy)
            .row("serial", &stamp.serial)
            .print()
    })
}

impl Init {
    async fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let key = self.signing.open()?;
        // Nobody draws 127 bits twice.
        let serial = random_bytes()?;
        let valid_for = Duration::from_secs(u64::from(self.days) * 86_400);
        let unsigned = Unsigned::new(key.public_key(), &self.name, serial, now(), valid_for)?;
        let signature = key.sign(Purpose::Timestamp, unsigned.to_be_signed()?).await?;
        let pem = unsigned.seal(&signature)?;
        newfile::write(&self.output, newfile::PUBLIC, pem.as_bytes())?;
        output.value(&json!({ "certificate": self.output }), || {
            format!("made {}; give it to those who are to believe this authority\n", self.output.display())
        })
    }
}

impl Own {
    fn open(&self) -> Result<Stamper> {
        let key = self.signing.open()?;
        let authority = Authority::new(&read(&self.certificate)?, key.public_key(), &self.policy, ACCURACY);
        let authority = authority.map_err(|error| CliError::from(error).about(self.certificate.display()))?;
        Ok(Stamper { authority, key })
    }
}

/// An authority with its key.
pub(crate) struct Stamper {
    authority: Authority,
    key: OwnKey,
}

impl Stamper {
    /// The response to a request; one that says no is a response as well.
    pub(crate) async fn answer(&self, request: &[u8]) -> Result<Vec<u8>> {
        let answer = match self.authority.prepare(request, random_bytes()?, now()) {
            Ok(answer) => answer,
            Err(refused) => return Ok(refused),
        };
        let Tbs::Message(message) = self.authority.to_be_signed(&answer)? else {
            return Err(CliError::new(Kind::Unexpected, "an answer is signed as a message"));
        };
        let signature = self.key.sign(Purpose::Timestamp, message).await?;
        Ok(self.authority.seal(answer, &signature)?)
    }
}

impl Answer {
    async fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let request = trust::read(&self.request, TOKEN_MAX)?;
        let answer = self.own.open()?.answer(&request).await?;
        // A refusal is an error here: nobody wants it as a file.
        response(&answer)?;
        newfile::write(&self.output, newfile::PUBLIC, &answer)?;
        output.value(&json!({ "response": self.output }), || format!("wrote {}\n", self.output.display()))
    }
}

impl Serve {
    async fn run(self, output: &Output) -> Result {
        let stamper = Arc::new(self.own.open()?);
        let mut terminate = signal(SignalKind::terminate())?;
        let socket = tokio::net::TcpListener::bind(self.listen).await?;
        output.note(format_args!("timestamps  http://{}/", socket.local_addr()?));
        tokio::select! {
            () = service::serve(stamper, socket) => {}
            result = tokio::signal::ctrl_c() => result?,
            _ = terminate.recv() => {}
        }
        Ok(())
    }
}

fn now() -> Time {
    Time::from(SystemTime::now())
}
