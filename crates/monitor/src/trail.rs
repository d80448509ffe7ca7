//! Trails: when a key was used, as whatever holds it wrote that down, and not
//! for what.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use firmseal_fleet::Time;
use firmseal_formats::gunzip;

use crate::cloudtrail;
use crate::error::MonitorError;
use crate::follow::read;
use crate::hsm_lines;
use crate::vault_audit::{self, VaultKey};

/// Longest file, unpacked. AWS begins a new one every five minutes; others
/// rotate by size or day.
const FILE_MAX: usize = 1 << 30;
/// How deep directories lie in each other: account, region and date, in AWS.
const DEPTH_MAX: usize = 16;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Whose trail it is, and what the key is called there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keeper {
    /// CloudTrail, which knows it by its ARN.
    CloudTrail(String),
    /// An audit device of Vault or OpenBao.
    Vault(VaultKey),
    /// An HSM whose log was turned into lines.
    Hsm(String),
}

/// What was read of one key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trail {
    /// When the first and the last event were, of any kind, in seconds since
    /// 1970: between them nothing should be missing.
    pub covers: Option<(u64, u64)>,
    /// Its uses, oldest first.
    pub uses: Vec<Use>,
}

/// A signature that was made, or what else took a key's power away.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Use {
    /// When, in seconds since 1970.
    pub time: u64,
    /// The event's id.
    pub event: String,
    /// Who asked, and the request's id, as far as the trail says it.
    pub by: String,
    /// Why it cannot be one of ours, whatever was announced.
    pub odd: Option<&'static str>,
}

impl Use {
    pub(crate) fn new(
        time: u64,
        event: String,
        by: Option<String>,
        request: Option<String>,
        odd: Option<&'static str>,
    ) -> Use {
        let by = by.unwrap_or("somebody".to_owned());
        let by = match request {
            Some(request) => format!("{by}, request {request}"),
            None => by,
        };
        Use { time, event, by, odd }
    }
}

/// What files have said so far.
#[derive(Default)]
pub(crate) struct Collected {
    covers: Option<(u64, u64)>,
    /// By id, and by time where members of a cluster count each for itself: the
    /// same event may be delivered more than once.
    uses: BTreeMap<(String, Option<u64>), Use>,
}

impl Collected {
    /// There was an event, of any kind.
    pub(crate) fn saw(&mut self, time: u64) {
        let (first, last) = self.covers.unwrap_or((time, time));
        self.covers = Some((time.min(first), time.max(last)));
    }

    pub(crate) fn used(&mut self, used: Use) {
        self.uses.insert((used.event.clone(), None), used);
    }

    /// One whose id is its own at its time alone.
    pub(crate) fn used_then(&mut self, used: Use) {
        self.uses.insert((used.event.clone(), Some(used.time)), used);
    }
}

impl Keeper {
    /// Reads what the files below a directory say of the key. Those of
    /// CloudTrail end in `.json` or `.json.gz`; the others have any name.
    pub fn read(&self, directory: &Path) -> Result<Trail, MonitorError> {
        let mut files = Vec::new();
        list(directory, DEPTH_MAX, &mut files)?;
        let mut collected = Collected::default();
        for path in files.into_iter().filter(|path| self.reads(path)) {
            let bytes = read(&path, FILE_MAX).map_err(file(&path))?;
            let malformed =
                |why: String| MonitorError::NoTrail { path: path.clone(), from: self.kind(), why };
            let unpacked = match bytes.starts_with(&GZIP) {
                true => gunzip(&bytes, FILE_MAX).map_err(|error| malformed(error.to_string()))?,
                false => bytes,
            };
            self.collect(&unpacked, &mut collected).map_err(malformed)?;
        }
        let mut uses: Vec<Use> = collected.uses.into_values().collect();
        uses.sort();
        Ok(Trail { covers: collected.covers, uses })
    }

    fn reads(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match self {
            Keeper::CloudTrail(_) => name.ends_with(".json") || name.ends_with(".json.gz"),
            Keeper::Vault(_) | Keeper::Hsm(_) => true,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Keeper::CloudTrail(_) => "CloudTrail",
            Keeper::Vault(_) => "an audit device of Vault",
            Keeper::Hsm(_) => "an HSM's log in lines",
        }
    }

    fn collect(&self, text: &[u8], into: &mut Collected) -> Result<(), String> {
        match self {
            Keeper::CloudTrail(arn) => cloudtrail::collect(text, arn, into),
            Keeper::Vault(key) => each_line(text, |line| vault_audit::collect(line, key, into)),
            Keeper::Hsm(key) => each_line(text, |line| hsm_lines::collect(line, key, into)),
        }
    }
}

/// Names the key in findings.
impl fmt::Display for Keeper {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keeper::CloudTrail(name) | Keeper::Hsm(name) => out.write_str(name),
            Keeper::Vault(VaultKey { mount, name, version, .. }) => {
                write!(out, "{mount}/keys/{name}, version {version},")
            }
        }
    }
}

fn each_line(text: &[u8], mut take: impl FnMut(&[u8]) -> Result<(), String>) -> Result<(), String> {
    for (number, line) in (1u64..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        // The last one is still being written, or copied.
        let Some(line) = line.strip_suffix(b"\n") else { break };
        if !line.trim_ascii().is_empty() {
            take(line).map_err(|why| format!("line {number}: {why}"))?;
        }
    }
    Ok(())
}

/// A time to the second, whatever its fraction: RFC 3339 in UTC.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let whole = match text.strip_suffix('Z').and_then(|text| text.split_once('.')) {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit.is_ascii_digit()) => {
            format!("{whole}Z")
        }
        _ => text.to_owned(),
    };
    let time: Time = whole.parse().map_err(|error| format!("{error}"))?;
    Ok(time.millis() / 1000)
}

/// Files below a directory, by name. Links to directories are not followed.
fn list(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), MonitorError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(file(directory))? {
        let entry = entry.map_err(file(directory))?;
        found.push((entry.path(), entry.file_type().map_err(file(directory))?));
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, kind) in found {
        match (kind.is_dir(), depth.checked_sub(1)) {
            (true, Some(depth)) => list(&path, depth, files)?,
            (true, None) => return Err(file(&path)(io::Error::other("it lies too deep"))),
            (false, _) => files.push(path),
        }
    }
    Ok(())
}

fn file(path: &Path) -> impl Fn(io::Error) -> MonitorError {
    let path = path.to_owned();
    move |error| MonitorError::File { doing: "read", path: path.clone(), error }
}
