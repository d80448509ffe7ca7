//! Receivers of notices, as they are met: a webhook, a syslog collector and
//! a mail relay, each behind TLS with an authority of its own.
//!
//! The relay offers STARTTLS (RFC 3207) and takes one login, `AUTH PLAIN`
//! (RFC 4616), which it demands. Whatever a client says before it is
//! encrypted is kept too, so that a test sees what leaked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;

/// The login that the relay takes.
pub const LOGIN: (&str, &str) = ("firmseal", "not-for-open-lines");

/// What a receiver is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// HTTPS requests, answered with 204.
    Webhook,
    /// Counted frames over TLS (RFC 5425).
    Syslog,
    /// SMTP with STARTTLS and a login.
    Relay,
    /// SMTP that offers no STARTTLS, as when somebody in between took the
    /// offer out.
    PlainRelay,
}

/// What arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Arrived {
    /// A body, a frame or a letter, whole.
    Message(String),
    /// What the relay was told besides, a line at a time, and whether that
    /// was encrypted.
    Said {
        /// The line.
        line: String,
        /// Whether nobody in between could read it.
        encrypted: bool,
    },
    /// A client that did not want to go on with this certificate.
    TurnedAway,
}

/// A receiver on a free port of this machine, for as long as its runtime.
pub struct Inbox {
    address: SocketAddr,
    authority: String,
    arrived: UnboundedReceiver<Arrived>,
}

impl Inbox {
    /// Starts one with a certificate for its address.
    pub async fn start(kind: Kind) -> Inbox {
        Inbox::called(kind, "127.0.0.1").await
    }

    /// The same, with a certificate for another name.
    pub async fn called(kind: Kind, name: &str) -> Inbox {
        let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, arrived) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, tell) = (acceptor.clone(), tell.clone());
                // Clients hang up in the middle; that is what tests are after.
                tokio::spawn(async move { serve(kind, stream, acceptor, &tell).await });
            }
        });
        Inbox { address, authority: certified.cert.pem(), arrived }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate, which vouches for itself, in PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What arrives next.
    pub async fn next(&mut self) -> Arrived {
        let next = tokio::time::timeout(Duration::from_secs(120), self.arrived.recv()).await;
        next.expect("nothing arrives").unwrap()
    }

    /// The next message, whatever is said before it.
    pub async fn message(&mut self) -> String {
        loop {
            if let Arrived::Message(message) = self.next().await {
                return message;
            }
        }
    }

    /// What has arrived and was not looked at.
    pub fn rest(&mut self) -> Vec<Arrived> {
        std::iter::from_fn(|| self.arrived.try_recv().ok()).collect()
    }
}

type Tell = UnboundedSender<Arrived>;

/// `None` where the client hung up.
async fn serve(kind: Kind, stream: TcpStream, acceptor: TlsAcceptor, tell: &Tell) -> Option<()> {
    if kind == Kind::Relay || kind == Kind::PlainRelay {
        return relay(kind, BufReader::new(stream), acceptor, tell).await;
    }
    let mut stream = BufReader::new(accept(stream, &acceptor, tell).await?);
    loop {
        let message = match kind {
            Kind::Webhook => http(&mut stream).await?,
            _ => frame(&mut stream).await?,
        };
        tell.send(Arrived::Message(message)).ok()?;
    }
}

async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    acceptor: &TlsAcceptor,
    tell: &Tell,
) -> Option<tokio_rustls::server::TlsStream<S>> {
    match acceptor.accept(stream).await {
        Ok(tls) => Some(tls),
        Err(_) => {
            tell.send(Arrived::TurnedAway).ok()?;
            None
        }
    }
}

/// The body of one request.
async fn http(stream: &mut (impl AsyncBufRead + AsyncWrite + Unpin)) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.ok()?;
    stream.flush().await.ok()?;
    String::from_utf8(body).ok()
}

/// One frame (RFC 5425 §4.3).
async fn frame(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut length = Vec::new();
    stream.read_until(b' ', &mut length).await.ok()?;
    let length = std::str::from_utf8(&length).ok()?.trim_end().parse().ok()?;
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await.ok()?;
    String::from_utf8(message).ok()
}

async fn relay(
    kind: Kind,
    mut stream: BufReader<TcpStream>,
    acceptor: TlsAcceptor,
    tell: &Tell,
) -> Option<()> {
    stream.write_all(b"220 relay\r\n").await.ok()?;
    loop {
        let line = heard(&mut stream, false, tell).await?;
        let word = line.to_ascii_uppercase();
        if kind == Kind::Relay && word == "STARTTLS" {
            stream.write_all(b"220 go ahead\r\n").await.ok()?;
            // What was sent ahead of the encryption is nobody's (RFC 3207 §4.2).
            let tls = accept(stream.into_inner(), &acceptor, tell).await?;
            return letters(BufReader::new(tls), tell).await;
        }
        let answer: &[u8] = match word.split(' ').next()? {
            "EHLO" if kind == Kind::Relay => b"250-relay\r\n250 STARTTLS\r\n",
            "EHLO" => b"250-relay\r\n250 AUTH PLAIN\r\n",
            "QUIT" => return None,
            _ => b"530 encrypt first\r\n",
        };
        stream.write_all(answer).await.ok()?;
    }
}

/// The conversation once it is encrypted.
async fn letters(mut stream: impl AsyncBufRead + AsyncWrite + Unpin, tell: &Tell) -> Option<()> {
    let mut known = false;
    loop {
        let line = heard(&mut stream, true, tell).await?;
        let answer: &[u8] = match line.split(' ').next()?.to_ascii_uppercase().as_str() {
            "EHLO" => b"250-relay\r\n250 AUTH PLAIN\r\n",
            "AUTH" => {
                let (user, password) = LOGIN;
                let right = Base64::encode_string(format!("\0{user}\0{password}").as_bytes());
                known = line == format!("AUTH PLAIN {right}");
                if known { b"235 welcome\r\n" } else { b"535 who are you\r\n" }
            }
            "QUIT" => return None,
            _ if !known => b"530 log in first\r\n",
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.ok()?;
                stream.flush().await.ok()?;
                let mut letter = String::new();
                while !letter.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut letter).await.ok()? == 0 {
                        return None;
                    }
                }
                tell.send(Arrived::Message(letter)).ok()?;
                b"250 taken\r\n"
            }
            _ => b"250 fine\r\n",
        };
        stream.write_all(answer).await.ok()?;
        stream.flush().await.ok()?;
    }
}

async fn heard(stream: &mut (impl AsyncBufRead + Unpin), encrypted: bool, tell: &Tell) -> Option<String> {
    let mut line = String::new();
    match stream.read_line(&mut line).await {
        Ok(1..) => {}
        // The end, or a client that turns its back on the certificate.
        Ok(0) => return None,
        Err(_) => {
            tell.send(Arrived::TurnedAway).ok()?;
            return None;
        }
    }
    let line = line.trim_end().to_owned();
    tell.send(Arrived::Said { line: line.clone(), encrypted }).ok()?;
    Some(line)
}
