//! E-mail through a relay: for people who want to hear of a few things, and
//! not of each signature.

use std::time::Duration;

use async_trait::async_trait;
use firmseal_fleet::AuditRecord;
use firmseal_keys::Secret;
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::ecs;
use crate::error::NotifyError;
use crate::sink::Sink;

/// Longest wait for the relay.
const DEADLINE: Duration = Duration::from_secs(20);

/// How a relay is reached.
pub(crate) struct Relay<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// Authorities of its certificate, PEM; without them the connection is
    /// not encrypted, which only a relay on this machine is good for.
    pub(crate) authorities: Option<&'a [u8]>,
    pub(crate) login: Option<(&'a str, &'a Secret)>,
}

/// A receiver of e-mail.
pub struct Mail {
    name: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    relay: AsyncSmtpTransport<Tokio1Executor>,
}

impl Mail {
    /// A receiver behind a relay.
    pub(crate) fn new(name: &str, from: &str, to: &[String], relay: Relay<'_>) -> Result<Mail, NotifyError> {
        let wrong = |why: String| NotifyError::Settings { sink: name.to_owned(), why };
        let mailbox = |text: &str| {
            text.parse::<Mailbox>().map_err(|error| wrong(format!("`{text}` is no mail address: {error}")))
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(relay.host)
            .port(relay.port)
            .timeout(Some(DEADLINE));
        if let Some(pem) = relay.authorities {
            let certificate = Certificate::from_pem(pem)
                .map_err(|error| wrong(format!("the authority file cannot be used: {error}")))?;
            let parameters = TlsParameters::builder(relay.host.to_owned())
                .certificate_store(CertificateStore::None)
                .add_root_certificate(certificate)
                .build()
                .map_err(|error| wrong(error.to_string()))?;
            // Required: a relay that stops offering STARTTLS is none to be
            // sent names and products, nor a password.
            builder = builder.tls(Tls::Required(parameters));
        } else if !matches!(relay.host, "localhost" | "127.0.0.1" | "::1") {
            return Err(wrong(
                "name the authority of the relay's certificate: authority = \"...\"".to_owned(),
            ));
        }
        if let Some((user, password)) = relay.login {
            let password = std::str::from_utf8(password.expose())
                .map_err(|_| wrong("the password is not text".to_owned()))?;
            builder = builder.credentials(Credentials::new(user.to_owned(), password.trim().to_owned()));
        }
        if to.is_empty() {
            return Err(wrong("name somebody: to = [\"...\"]".to_owned()));
        }
        Ok(Mail {
            name: name.to_owned(),
            from: mailbox(from)?,
            to: to.iter().map(|text| mailbox(text)).collect::<Result<_, _>>()?,
            relay: builder.build(),
        })
    }

    fn compose(&self, record: &AuditRecord) -> Result<Message, NotifyError> {
        let failed = |error: lettre::error::Error| NotifyError::Connection(error.to_string());
        let mut message = Message::builder().from(self.from.clone());
        for to in &self.to {
            message = message.to(to.clone());
        }
        // The same record has the same id: mail programs show it once.
        let domain = self.from.email.domain();
        message
            .message_id(Some(format!("<audit-{}@{domain}>", record.number)))
            .subject(subject(record))
            .header(header::ContentType::TEXT_PLAIN)
            .body(body(record))
            .map_err(failed)
    }
}

/// The line that people see first.
fn subject(record: &AuditRecord) -> String {
    let mut out = format!("firmseal: {}", record.action.word());
    let subject = &record.subject;
    let parts =
        [subject.product.as_ref().map(ToString::to_string), subject.version.clone(), subject.key.clone()];
    for part in parts.into_iter().flatten() {
        out.push(' ');
        // Control characters would begin a header of their own.
        out.extend(part.chars().filter(|c| !c.is_control()).take(100));
    }
    out
}

/// Everything that the record says, a line each.
fn body(record: &AuditRecord) -> String {
    fn lines(path: &str, value: &serde_json::Value, out: &mut String) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    lines(&path, value, out);
                }
            }
            // A line break in a name would begin a line that says anything.
            serde_json::Value::String(text) => {
                let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                out.push_str(&format!("{path}: {text}\r\n"));
            }
            other => out.push_str(&format!("{path}: {other}\r\n")),
        }
    }
    let mut out = String::new();
    lines("", &ecs::encode(record), &mut out);
    out
}

#[async_trait]
impl Sink for Mail {
    fn name(&self) -> &str {
        &self.name
    }

    async fn deliver(&self, record: &AuditRecord) -> Result<(), NotifyError> {
        let message = self.compose(record)?;
        match tokio::time::timeout(DEADLINE, self.relay.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(NotifyError::Connection(error.to_string())),
            Err(_) => Err(NotifyError::Timeout),
        }
    }
}
