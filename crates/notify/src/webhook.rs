//! Webhooks: one HTTPS request for each record, signed so that the receiver
//! knows who sent it and that it is not a recording (Standard Webhooks).

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64ct::{Base64, Encoding};
use firmseal_fleet::AuditRecord;
use firmseal_keys::Secret;
use firmseal_outbound::{Endpoint, Request};
use http::{HeaderName, HeaderValue, header};

use crate::ecs;
use crate::error::NotifyError;
use crate::sink::Sink;

/// Longest wait for an answer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
/// Longest answer; nothing in it is looked at.
const ANSWER_MAX: usize = 64 * 1024;

/// A receiver of HTTPS requests.
pub struct Webhook {
    name: String,
    endpoint: Endpoint,
    path: String,
    key: hmac::Key,
}

impl Webhook {
    /// A receiver below an endpoint. Secrets are 24 to 64 bytes (Standard
    /// Webhooks, "Signature scheme").
    pub fn new(name: &str, endpoint: Endpoint, path: &str, secret: &Secret) -> Result<Webhook, NotifyError> {
        let wrong = |why: &str| NotifyError::Settings { sink: name.to_owned(), why: why.to_owned() };
        if !endpoint.is_private() {
            return Err(wrong("records name people and products: use https://"));
        }
        let secret = decoded(secret).ok_or_else(|| {
            wrong("the secret is `whsec_` and the Base64 of 24 to 64 bytes; make one with `openssl rand -base64 32`")
        })?;
        Ok(Webhook {
            name: name.to_owned(),
            endpoint,
            path: path.trim_start_matches('/').to_owned(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        })
    }

    /// The headers that vouch for a body sent at this second.
    pub(crate) fn headers(&self, id: &str, second: u64, body: &[u8]) -> [(HeaderName, String); 3] {
        let mut signed = format!("{id}.{second}.").into_bytes();
        signed.extend_from_slice(body);
        let tag = hmac::sign(&self.key, &signed);
        [
            (HeaderName::from_static("webhook-id"), id.to_owned()),
            (HeaderName::from_static("webhook-timestamp"), second.to_string()),
            (
                HeaderName::from_static("webhook-signature"),
                format!("v1,{}", Base64::encode_string(tag.as_ref())),
            ),
        ]
    }
}

fn decoded(secret: &Secret) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(secret.expose()).ok()?.trim();
    let bytes = Base64::decode_vec(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
    (24..=64).contains(&bytes.len()).then_some(bytes)
}

#[async_trait]
impl Sink for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, record: &AuditRecord) -> Result<(), NotifyError> {
        let body = ecs::encode(record).to_string().into_bytes();
        let second =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut request = Request::post(self.path.as_str(), body.clone(), ANSWER_MAX)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.headers(&format!("audit-{}", record.number), second, &body) {
            let value =
                HeaderValue::try_from(value).map_err(|error| NotifyError::Connection(error.to_string()))?;
            request = request.header(name, value);
        }
        match self.endpoint.send(request).await?.status {
            200..=299 => Ok(()),
            status => Err(NotifyError::Status(status)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The example of the specification ("Signature scheme", symmetric).
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let secret = Secret::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &decoded(&secret).unwrap());
        let endpoint = Endpoint::new("http://127.0.0.1:1", None, DEADLINE).unwrap();
        let hook = Webhook { name: "x".to_owned(), endpoint, path: String::new(), key };
        let [_, _, (_, signature)] =
            hook.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_long_enough_and_records_stay_private() {
        let endpoint = || Endpoint::new("http://127.0.0.1:1", None, DEADLINE).unwrap();
        let good = Secret::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
        let plain = Webhook::new("siem", endpoint(), "/", &good).err().unwrap().to_string();
        assert!(plain.contains("https"), "{plain}");
        for bad in ["", "whsec_", "whsec_AAAA", "not base64 at all"] {
            assert!(decoded(&Secret::new(bad.as_bytes().to_vec())).is_none(), "{bad}");
        }
    }
}
