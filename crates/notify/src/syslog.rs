//! Syslog: RFC 5424 messages with the record as JSON, over TLS (RFC 5425) or
//! plain TCP (RFC 6587 §3.4.1, octet counting) on a network of one's own.
//!
//! Syslog has no answers: a message that was written when the connection
//! broke may be lost, and nobody hears of it. Where each record must arrive,
//! use a webhook.

use std::time::Duration;

use async_trait::async_trait;
use firmseal_fleet::AuditRecord;
use firmseal_fleet::audit::{AuditAction, Outcome};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;

use crate::ecs;
use crate::error::NotifyError;
use crate::sink::Sink;

/// Longest wait for a connection or a write.
const DEADLINE: Duration = Duration::from_secs(10);
/// Facility 13, "log audit" (RFC 5424 §6.2.1).
const FACILITY: u8 = 13;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A syslog receiver.
pub struct Syslog {
    name: String,
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    /// The name of this machine or service in messages.
    origin: String,
    connection: Mutex<Option<Box<dyn Stream>>>,
}

impl Syslog {
    /// A receiver at `host:port`.
    pub(crate) fn new(name: &str, host: &str, port: u16, tls: Option<TlsConnector>, origin: &str) -> Syslog {
        Syslog {
            name: name.to_owned(),
            host: host.to_owned(),
            port,
            tls,
            origin: origin.to_owned(),
            connection: Mutex::new(None),
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, NotifyError> {
        let failed = |error: std::io::Error| NotifyError::Connection(format!("{}: {error}", self.host));
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(failed)?;
        // A failure costs latency only.
        let _ = tcp.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| NotifyError::Connection(format!("{}: {error}", self.host)))?;
        Ok(Box::new(tls.connect(name, tcp).await.map_err(failed)?))
    }

    async fn write(&self, frame: &[u8]) -> Result<(), NotifyError> {
        let mut kept = self.connection.lock().await;
        if let Some(stream) = kept.as_mut()
            && is_closed(stream).await
        {
            *kept = None;
        }
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        let sent = async {
            stream.write_all(frame).await?;
            stream.flush().await
        };
        sent.await.map_err(|error| NotifyError::Connection(error.to_string()))?;
        *kept = Some(stream);
        Ok(())
    }
}

/// Whether the other side has closed: receivers say nothing else, and what
/// is written to a closed connection is lost without a sign.
async fn is_closed(stream: &mut Box<dyn Stream>) -> bool {
    let mut byte = [0];
    match tokio::time::timeout(Duration::ZERO, stream.read(&mut byte)).await {
        Err(_) | Ok(Ok(1..)) => false,
        Ok(Ok(0) | Err(_)) => true,
    }
}

#[async_trait]
impl Sink for Syslog {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, record: &AuditRecord) -> Result<(), NotifyError> {
        let message = message(record, &self.origin);
        let frame = [format!("{} ", message.len()).as_bytes(), &message].concat();
        match tokio::time::timeout(DEADLINE, self.write(&frame)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(NotifyError::Timeout),
        }
    }
}

/// The message (RFC 5424 §6): no structured data, the JSON as its text.
fn message(record: &AuditRecord, origin: &str) -> Vec<u8> {
    // §6.2.1: 4 is a warning, 5 a normal but significant condition.
    let severity = match (record.action, record.outcome) {
        (AuditAction::Anomaly | AuditAction::SigningHeld, _) | (_, Outcome::Failure | Outcome::Unknown) => 4,
        (_, Outcome::Success) => 5,
    };
    let priority = FACILITY * 8 + severity;
    let (time, id) = (record.time, record.action.word());
    let head = format!("<{priority}>1 {time} {origin} firmseal - {id} - ");
    [head.as_bytes(), ecs::encode(record).to_string().as_bytes()].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use firmseal_fleet::Time;
    use firmseal_fleet::audit::AuditSubject;

    use super::*;

    #[test]
    fn a_message_has_the_form_of_the_rfc() {
        let record = AuditRecord {
            number: 7,
            time: Time::EPOCH,
            action: AuditAction::Anomaly,
            outcome: Outcome::Success,
            caller: None,
            by: Some("ci".to_owned()),
            reasons: Vec::new(),
            subject: AuditSubject::default(),
        };
        let text = String::from_utf8(message(&record, "signing.example")).unwrap();
        let (head, json) = text.split_at(text.find('{').unwrap());
        assert_eq!(head, format!("<108>1 {} signing.example firmseal - anomaly - ", Time::EPOCH));
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["event"]["kind"], "alert");
        assert_eq!(json["user"]["name"], "ci");
        assert!(!text.contains('\n'), "one line");
    }
}
