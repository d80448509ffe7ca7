//! A process that writes, and says what was acknowledged.
//!
//! The test binary runs itself again with `FIRMSEAL_WRITE_INTO` set; the
//! child opens the store there and writes from several tasks at once. Each
//! line on its stdout is an acknowledged write, printed after the call
//! returned.
#![allow(clippy::unwrap_used, clippy::panic, dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use firmseal_fleet::{Phase, Release};
use firmseal_keys::Log;
use firmseal_manifest::{Digest, ReleaseId, RequestId, UploadId};
use firmseal_store::conformance::samples;
use firmseal_store::{Begin, Blobs, Fleet, NewUpload, Observation, Registry, Requests, StoreError, Uploads};
use firmseal_store_local::LocalStore;
use semver::Version;

pub(crate) const INTO: &str = "FIRMSEAL_WRITE_INTO";

/// Bytes that follow from a number, 1 to 300,000 of them.
pub(crate) fn bytes(number: u64) -> Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let size = 1 + next() % if number.is_multiple_of(4) { 300_000 } else { 3_000 };
    (0..size).map(|_| next() as u8).collect::<Vec<_>>().into()
}

/// One acknowledged write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    Blob(u64, Digest),
    Offset(UploadId, u64),
    Completed(u64, Digest),
    Released(ReleaseId, RequestId),
    Reported(String, String),
    Intent(u64, u64),
    Failed(String),
}

impl Ack {
    fn line(&self) -> String {
        match self {
            Ack::Blob(number, digest) => format!("ack blob {number} {digest}"),
            Ack::Offset(upload, offset) => format!("ack offset {upload} {offset}"),
            Ack::Completed(number, digest) => format!("ack completed {number} {digest}"),
            Ack::Released(release, request) => format!("ack released {release} {request}"),
            Ack::Reported(device, report) => format!("ack reported {device} {report}"),
            Ack::Intent(index, number) => format!("ack intent {index} {number}"),
            Ack::Failed(why) => format!("ack failed {}", why.replace('\n', " ")),
        }
    }

    /// Reads a line; `None` for what the test harness prints.
    pub(crate) fn read(line: &str) -> Option<Ack> {
        // A kill in the middle of a line leaves one that says nothing.
        let line = line.strip_suffix('\n')?.strip_prefix("ack ")?;
        let mut words = line.splitn(3, ' ');
        let (kind, one, two) = (words.next()?, words.next()?, words.next().unwrap_or_default());
        let digest = || firmseal_manifest::ids::parse_digest(two);
        Some(match kind {
            "blob" => Ack::Blob(one.parse().ok()?, digest()?),
            "offset" => Ack::Offset(one.parse().ok()?, two.parse().ok()?),
            "completed" => Ack::Completed(one.parse().ok()?, digest()?),
            "released" => Ack::Released(one.parse().ok()?, two.parse().ok()?),
            "reported" => Ack::Reported(one.to_owned(), two.to_owned()),
            "intent" => Ack::Intent(one.parse().ok()?, two.parse().ok()?),
            "failed" => Ack::Failed(format!("{one} {two}")),
            _ => return None,
        })
    }
}

static SAID: Mutex<Vec<Ack>> = Mutex::new(Vec::new());

/// Runs the writer here, until all its tasks met an error, and returns what
/// it said.
pub(crate) async fn recorded(writer: impl Future<Output = ()>) -> Vec<Ack> {
    writer.await;
    std::mem::take(&mut *SAID.lock().unwrap())
}

fn say(ack: &Ack) {
    SAID.lock().unwrap().push(ack.clone());
    // One write for the whole line, whoever else prints.
    let line = format!("{}\n", ack.line());
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// What the child does until it is killed, or until each of its tasks met
/// an error and said so.
pub(crate) async fn write_into(dir: &Path, round: u64) {
    println!();
    let store = Arc::new(LocalStore::open(dir).unwrap());
    if store.intents().is_empty() {
        // Releases say that they stand at index 0.
        store.intents().append(&leaf(0)).await.unwrap();
    }
    let template = samples::release(&*store, "gateway", "0.0.1", 0).await;
    let tasks = [
        tokio::spawn(blobs(store.clone(), round)),
        tokio::spawn(uploads(store.clone(), round)),
        tokio::spawn(releases(store.clone(), round, template)),
        tokio::spawn(reports(store.clone())),
        tokio::spawn(intents(store.clone(), round)),
        tokio::spawn(intents(store.clone(), round + (1 << 32))),
    ];
    for task in tasks {
        let Err(error) = task.await.unwrap();
        say(&Ack::Failed(error));
    }
}

type Never = Result<std::convert::Infallible, String>;

fn name(error: StoreError) -> String {
    format!("{error:?}")
}

async fn blobs(store: Arc<LocalStore>, round: u64) -> Never {
    for number in (round << 16).. {
        let digest = store.put_bytes(bytes(number)).await.map_err(name)?;
        say(&Ack::Blob(number, digest));
    }
    unreachable!()
}

async fn uploads(store: Arc<LocalStore>, round: u64) -> Never {
    for number in ((round << 16) + (1 << 15)).. {
        let bytes = bytes(number);
        // The digest is needed before the bytes are stored.
        let digest = sha256(&bytes);
        let id = UploadId::new();
        let (size, owner) = (bytes.len() as u64, "ci".to_owned());
        let expires = samples::later(60);
        store.create(NewUpload { id, size, digest, owner, expires }).await.map_err(name)?;
        let mut offset = 0;
        say(&Ack::Offset(id, offset));
        while offset < size {
            let end = size.min(offset + 50_000);
            let piece = bytes.slice(offset as usize..end as usize);
            offset = store.append(id, offset, piece).await.map_err(name)?;
            say(&Ack::Offset(id, offset));
        }
        store.complete(id).await.map_err(name)?;
        say(&Ack::Completed(number, digest));
    }
    unreachable!()
}

pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let value = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Digest::from_slice(value.as_ref()).unwrap()
}

async fn releases(store: Arc<LocalStore>, round: u64, template: Release) -> Never {
    let first = store.latest_release(&samples::product("gateway").id).await.map_err(name)?;
    let mut sequence = first.map_or(0, |release| release.sequence);
    loop {
        sequence += 1;
        let request = samples::request(&format!("{round}/{sequence}"), samples::digest());
        let Begin::Fresh(claim) = store.begin(request).await.map_err(name)? else {
            return Err("the key is fresh".to_owned());
        };
        let release = Release {
            id: ReleaseId::new(),
            request: claim.request,
            version: Version::new(round, 0, sequence),
            sequence,
            ..template.clone()
        };
        store.reserve(&claim, samples::reservation(&release), samples::NOW).await.map_err(name)?;
        store.finish(&claim, release.id.to_string().into(), Some(release.clone())).await.map_err(name)?;
        say(&Ack::Released(release.id, claim.request));
    }
}

async fn reports(store: Arc<LocalStore>) -> Never {
    store.insert_product(samples::product("gateway"), &samples::admin()).await.map_err(name)?;
    let token = samples::token("gateway", 1);
    // Hashes of samples repeat in every process.
    let token = firmseal_fleet::EnrolmentToken { hash: unique(), ..token };
    store.insert_token(token.clone()).await.map_err(name)?;
    let mut device = samples::device(&token.product);
    (device.certificate.spki, device.certificate.fingerprint) = (unique(), unique());
    store.enrol(&token.hash, device.clone(), samples::ALLOWANCE).await.map_err(name)?;
    for sequence in 1.. {
        let report = samples::report(device.id, None, Phase::Confirmed);
        let running = Some(samples::running(sequence));
        let reports = vec![report.clone()];
        let equipment = Some(samples::equipment(sequence));
        let observation =
            Observation { device: device.id, now: samples::NOW, running, equipment, reports, most: u32::MAX };
        store.observe(observation).await.map_err(name)?;
        say(&Ack::Reported(device.id.to_string(), report.id.to_string()));
    }
    unreachable!()
}

fn unique() -> Digest {
    sha256(ReleaseId::new().to_string().as_bytes())
}

async fn intents(store: Arc<LocalStore>, round: u64) -> Never {
    for number in (round << 16).. {
        let leaf = leaf(number);
        let index = store.intents().append(&leaf).await.map_err(|error| error.to_string())?;
        say(&Ack::Intent(index, number));
    }
    unreachable!()
}

/// A leaf that follows from a number.
pub(crate) fn leaf(number: u64) -> Bytes {
    let bytes = bytes(number);
    bytes.slice(..bytes.len().min(400))
}

/// Starts the child.
pub(crate) struct Writer {
    pub(crate) child: Child,
    out: BufReader<ChildStdout>,
}

impl Writer {
    /// `wrapped` builds the command that runs a program with arguments.
    pub(crate) fn start(dir: &Path, round: u64, wrapped: impl FnOnce(&Path) -> Command) -> Writer {
        let mut command = wrapped(&std::env::current_exe().unwrap());
        command
            .args(["--exact", "writer", "--nocapture", "--test-threads", "1"])
            .env(INTO, dir)
            .env("FIRMSEAL_ROUND", round.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Writer { child, out }
    }

    /// The next acknowledged write; `None` once there will be no more.
    pub(crate) fn next(&mut self) -> Option<Ack> {
        loop {
            let mut line = String::new();
            if self.out.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(ack) = Ack::read(&line) {
                return Some(ack);
            }
        }
    }
}

/// What the test named `writer` does: nothing, unless it is the child.
pub(crate) fn writer() {
    let Some(dir) = std::env::var_os(INTO) else { return };
    let round = std::env::var("FIRMSEAL_ROUND").unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(write_into(Path::new(&dir), round));
}

/// Checks that everything acknowledged is there and intact.
pub(crate) async fn check(store: &LocalStore, acks: &[Ack]) {
    for ack in acks {
        match ack {
            Ack::Blob(number, digest) | Ack::Completed(number, digest) => {
                assert_eq!(store.read_all(digest, u64::MAX).await.unwrap(), bytes(*number), "{ack:?}");
            }
            Ack::Offset(id, offset) => match store.upload(*id).await {
                Ok(upload) => assert!(upload.offset >= *offset, "{ack:?} {upload:?}"),
                // It was completed; that is acknowledged or was about to be.
                Err(StoreError::NotFound { .. }) => {}
                Err(error) => panic!("{ack:?} {error}"),
            },
            Ack::Released(id, request) => {
                assert_eq!(store.release(*id).await.unwrap().request, *request);
                let result = store.result(*request).await.unwrap().unwrap().result;
                assert_eq!(result, id.to_string().as_bytes());
            }
            Ack::Reported(device, report) => {
                let device = store.device(device.parse().unwrap()).await.unwrap();
                assert!(device.running.is_some() && device.equipment.is_some());
                let mut page = firmseal_store::Page::first(1000);
                loop {
                    let reports = store.reports(device.id, page).await.unwrap();
                    let Some(last) = reports.last() else { panic!("{ack:?} is lost") };
                    if reports.iter().any(|known| known.id.to_string() == *report) {
                        break;
                    }
                    page = firmseal_store::Page::after(last.id, 1000);
                }
            }
            Ack::Intent(index, number) => {
                let entry = store.intents().read(*index, 1).await.unwrap().remove(0);
                assert_eq!((entry.index, entry.leaf.as_slice()), (*index, &leaf(*number)[..]), "{ack:?}");
            }
            Ack::Failed(_) => {}
        }
    }
}

/// Checks that nothing is half-visible: no file without a record, no record
/// without its bytes, no release without its request's result.
pub(crate) async fn nothing_half(store: &LocalStore, dir: &Path) {
    assert_eq!(std::fs::read_dir(dir.join("tmp")).unwrap().count(), 0, "temporary files are gone");
    for prefix in std::fs::read_dir(dir.join("blobs")).unwrap() {
        let prefix = prefix.unwrap();
        for blob in std::fs::read_dir(prefix.path()).unwrap() {
            let hex = format!(
                "{}{}",
                prefix.file_name().into_string().unwrap(),
                blob.unwrap().file_name().into_string().unwrap()
            );
            let digest = firmseal_manifest::ids::parse_digest(&hex).unwrap();
            assert_eq!(sha256(&store.read_all(&digest, u64::MAX).await.unwrap()), digest);
        }
    }
    for upload in std::fs::read_dir(dir.join("uploads")).unwrap() {
        let upload = upload.unwrap();
        let id = upload.file_name().into_string().unwrap().parse().unwrap();
        let offset = store.upload(id).await.unwrap().offset;
        assert!(upload.metadata().unwrap().len() >= offset);
    }
    let mut page = firmseal_store::Page::first(1000);
    loop {
        let releases = store.releases(None, page).await.unwrap();
        let Some(last) = releases.last() else { break };
        page = firmseal_store::Page::after(last.id, 1000);
        for release in releases {
            assert!(store.result(release.request).await.unwrap().is_some(), "{release:?}");
        }
    }
    let mut from = 0;
    while from < store.intents().len() {
        let entries = store.intents().read(from, 1000).await.unwrap();
        assert_eq!(entries[0].index, from);
        from += entries.len() as u64;
    }
}
