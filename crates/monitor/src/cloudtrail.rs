//! CloudTrail: what AWS wrote down of a KMS key.
//!
//! A file is `{"Records": [...]}`, packed with gzip where AWS delivers it (AWS
//! CloudTrail User Guide, "CloudTrail log file examples"). The same event may
//! be delivered more than once; its id says so. An event of `Sign` names the
//! key, the time and the request. What was signed it does not say.

use serde::Deserialize;

use crate::trail::{Collected, Use, seconds};

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
    event_time: String,
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

/// Reads a file: the uses of the key that has this ARN.
pub(crate) fn collect(file: &[u8], arn: &str, into: &mut Collected) -> Result<(), String> {
    let delivered: Delivered = serde_json::from_slice(file).map_err(|error| error.to_string())?;
    for event in delivered.records {
        let time = seconds(&event.event_time)?;
        into.saw(time);
        if event.is_signature() && event.key()? == arn {
            into.used(event.into_use(time));
        }
    }
    Ok(())
}

impl Event {
    /// Whether a key was used; it was not where KMS refused.
    fn is_signature(&self) -> bool {
        self.event_source == "kms.amazonaws.com" && self.event_name == "Sign" && self.error_code.is_none()
    }

    fn key(&self) -> Result<&str, String> {
        let is_key =
            |resource: &&Resource| resource.kind.as_deref().is_none_or(|kind| kind == "AWS::KMS::Key");
        let key = self.resources.iter().flatten().filter(is_key).find_map(|resource| resource.arn.as_deref());
        key.ok_or_else(|| format!("event {} has a signature and names no key", self.event_id))
    }

    fn into_use(self, time: u64) -> Use {
        let by = self.user_identity.and_then(|identity| identity.arn);
        let kind = self.request_parameters.and_then(|parameters| parameters.message_type);
        let odd = (kind.as_deref() != Some("DIGEST"))
            .then_some("it signed a message: Firmseal has digests signed only");
        Use::new(time, self.event_id, by, self.request_id, odd)
    }
}
