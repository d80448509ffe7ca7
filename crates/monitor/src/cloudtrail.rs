//! CloudTrail: what AWS wrote down of a KMS key.
//!
//! A file is `{"Records": [...]}`, packed with gzip where AWS delivers it (AWS
//! CloudTrail User Guide, "CloudTrail log file examples"). The same event may
//! be delivered more than once; its id says so. An event of `Sign` names the
//! key, the time and the request. What was signed it does not say.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use firmseal_fleet::Time;
use firmseal_formats::gunzip;
use serde::Deserialize;

use crate::error::MonitorError;
use crate::follow::read;

/// Longest file, unpacked. AWS begins a new one every five minutes.
const FILE_MAX: usize = 256 << 20;
/// How deep directories lie in each other: account, region and date, in AWS.
const DEPTH_MAX: usize = 16;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What was read of a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trail {
    /// When the first and the last event were, of any kind, in seconds since
    /// 1970: between them nothing should be missing.
    pub covers: Option<(u64, u64)>,
    /// Uses of keys, oldest first.
    pub uses: Vec<Use>,
}

/// A signature that KMS made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Use {
    /// When, in seconds since 1970.
    pub time: u64,
    /// The event's id.
    pub event: String,
    /// The key's ARN.
    pub arn: String,
    /// Who asked, and the request's id, as far as AWS says it.
    pub by: String,
    /// Whether a digest was handed in, as we always do; else a message.
    pub of_digest: bool,
}

#[derive(Deserialize)]
struct Delivered {
    #[serde(rename = "Records")]
    records: Vec<Event>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "eventID")]
    event_id: String,
    event_time: Time,
    event_source: String,
    event_name: String,
    error_code: Option<String>,
    #[serde(rename = "requestID")]
    request_id: Option<String>,
    user_identity: Option<Identity>,
    request_parameters: Option<Parameters>,
    resources: Option<Vec<Resource>>,
}

#[derive(Deserialize)]
struct Identity {
    arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    message_type: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "ARN")]
    arn: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl Trail {
    /// Reads the files below a directory whose names end in `.json` or
    /// `.json.gz`.
    pub fn read(directory: &Path) -> Result<Trail, MonitorError> {
        let mut files = Vec::new();
        list(directory, DEPTH_MAX, &mut files)?;
        let (mut covers, mut uses) = (None, BTreeMap::new());
        for path in files {
            let bytes = read(&path, FILE_MAX).map_err(file(&path))?;
            let malformed = |why: String| MonitorError::NoTrail { path: path.clone(), why };
            let unpacked = match bytes.starts_with(&GZIP) {
                true => gunzip(&bytes, FILE_MAX).map_err(|error| malformed(error.to_string()))?,
                false => bytes,
            };
            let delivered: Delivered =
                serde_json::from_slice(&unpacked).map_err(|error| malformed(error.to_string()))?;
            for event in delivered.records {
                let time = event.event_time.millis() / 1000;
                let (first, last) = covers.unwrap_or((time, time));
                covers = Some((time.min(first), time.max(last)));
                if let Some(used) = event.used(time).map_err(&malformed)? {
                    uses.insert(used.event.clone(), used);
                }
            }
        }
        let mut uses: Vec<Use> = uses.into_values().collect();
        uses.sort();
        Ok(Trail { covers, uses })
    }
}

impl Event {
    /// The use of a key that it tells of; none where KMS refused.
    fn used(self, time: u64) -> Result<Option<Use>, String> {
        let signed = self.event_source == "kms.amazonaws.com" && self.event_name == "Sign";
        if !signed || self.error_code.is_some() {
            return Ok(None);
        }
        let is_key =
            |resource: &Resource| resource.kind.as_deref().is_none_or(|kind| kind == "AWS::KMS::Key");
        let key = self.resources.into_iter().flatten().filter(is_key).find_map(|resource| resource.arn);
        let Some(arn) = key else {
            return Err(format!("event {} has a signature and names no key", self.event_id));
        };
        let by = self.user_identity.and_then(|identity| identity.arn).unwrap_or("somebody".to_owned());
        let by = match self.request_id {
            Some(request) => format!("{by}, request {request}"),
            None => by,
        };
        let kind = self.request_parameters.and_then(|parameters| parameters.message_type);
        let of_digest = kind.as_deref() == Some("DIGEST");
        Ok(Some(Use { time, event: self.event_id, arn, by, of_digest }))
    }
}

/// Files below a directory, by name. Links are not followed.
fn list(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), MonitorError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(file(directory))? {
        let entry = entry.map_err(file(directory))?;
        found.push((entry.path(), entry.file_type().map_err(file(directory))?));
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (path, kind) in found {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match (kind.is_dir(), depth.checked_sub(1)) {
            (true, Some(depth)) => list(&path, depth, files)?,
            (true, None) => return Err(file(&path)(io::Error::other("it lies too deep"))),
            (false, _) if name.ends_with(".json") || name.ends_with(".json.gz") => files.push(path),
            (false, _) => {}
        }
    }
    Ok(())
}

fn file(path: &Path) -> impl Fn(io::Error) -> MonitorError {
    let path = path.to_owned();
    move |error| MonitorError::File { doing: "read", path: path.clone(), error }
}
