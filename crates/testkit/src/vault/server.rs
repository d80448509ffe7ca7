//! The fake Vault's HTTPS server.

use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};

use base64ct::{Base64, Encoding};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::engine::{Flags, Refusal};
use super::{Mode, Shared};

/// An authority in PEM, and a server with its certificate for 127.0.0.1.
pub(crate) fn identity() -> (String, ServerConfig) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (pem, config)
}

/// Serves until it is told to stop, on a thread with an executor of its own.
pub(crate) fn serve(
    shared: Arc<Shared>,
    tls: ServerConfig,
    ready: mpsc::Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().unwrap();
    runtime.block_on(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        ready.send(listener.local_addr().unwrap()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let accept = async {
            loop {
                let Ok((tcp, _)) = listener.accept().await else { continue };
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(|request| answer(Arc::clone(&shared), request));
                    // Clients go away; that is their business.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        };
        tokio::select! {
            () = accept => {}
            _ = stopped => {}
        }
    });
}

/// A body that may have no end.
struct Answered {
    left: Option<Bytes>,
    endless: bool,
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.endless {
            true => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b' '; 4096]))))),
            false => Poll::Ready(self.left.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }
}

fn reply(status: u16, body: &Value) -> Response<Answered> {
    let left = Some(Bytes::from(body.to_string()));
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Answered { left, endless: false })
        .unwrap()
}

fn errors(status: u16, why: &str) -> Response<Answered> {
    let list: Vec<&str> = Some(why).filter(|why| !why.is_empty()).into_iter().collect();
    reply(status, &json!({ "errors": list }))
}

/// The connection ends without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Answered>, Cut> {
    let mode = {
        let mut state = shared.lock();
        state.requests += 1;
        state.mode
    };
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let early = match mode {
        Mode::Sealed => Some(errors(503, "Vault is sealed")),
        Mode::RateLimited => Some(errors(429, "request path \"transit/sign\": rate limit quota exceeded")),
        Mode::Broken => Some(errors(500, "internal error")),
        Mode::Lagging => Some(errors(412, "required index state not present")),
        Mode::Standby => {
            let mut answer = errors(307, "");
            answer.headers_mut().insert("location", "https://attacker.example/v1/".parse().unwrap());
            Some(answer)
        }
        Mode::Hangs => pending().await,
        Mode::Cuts => return Err(Cut),
        Mode::Page => Some(Response::new(Answered {
            left: Some(Bytes::from_static(b"<html>sign in</html>")),
            endless: false,
        })),
        Mode::Endless => Some(Response::new(Answered { left: None, endless: true })),
        Mode::Echoes => {
            Some(errors(400, &format!("bad token {}", header("x-vault-token").unwrap_or_default())))
        }
        _ => None,
    };
    if let Some(answer) = early {
        return Ok(answer);
    }
    let mut state = shared.lock();
    if header("x-vault-namespace") != state.namespace.as_deref() {
        return Ok(errors(404, "no handler for route"));
    }
    if header("x-vault-token") != Some(state.token.as_str()) {
        return Ok(errors(403, "permission denied"));
    }
    let mut request: Value = match body.is_empty() {
        true => json!({}),
        false => serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
    let asked = (head.method.as_str(), path.get(1..).unwrap_or_default().join("/"));
    if state.forbidden.iter().any(|(method, path)| (method.as_str(), path) == (asked.0, &asked.1)) {
        return Ok(errors(403, "1 error occurred: * permission denied"));
    }
    let data: Result<Option<Value>, Refusal> = match (&head.method, path.as_slice()) {
        (&Method::GET, ["v1", "transit", "keys", name]) => state.engine.read(name).map(Some),
        (&Method::POST, ["v1", "transit", "keys", name]) => {
            let flags = Flags {
                exportable: request["exportable"] == json!(true),
                allow_plaintext_backup: request["allow_plaintext_backup"] == json!(true),
                derived: request["derived"] == json!(true),
                ..Flags::default()
            };
            let kind = request["type"].as_str().unwrap_or("aes256-gcm96").to_owned();
            let made = state.engine.create(name, &kind, flags);
            made.and_then(|()| state.engine.read(name)).map(Some)
        }
        (&Method::POST, ["v1", "transit", "keys", name, "rotate"]) => {
            state.engine.rotate(name).map(|()| None)
        }
        (&Method::GET, ["v1", "transit", "keys"]) if head.uri.query() == Some("list=true") => {
            state.engine.names().map(Some)
        }
        (&Method::POST, ["v1", "transit", "keys", name, "config"]) => {
            state.engine.configure(name, &request).map(|()| None)
        }
        (&Method::POST, ["v1", "transit", "keys", name, "trim"]) => {
            state.engine.trim(name, &request).map(|()| None)
        }
        (&Method::DELETE, ["v1", "transit", "keys", name]) => state.engine.delete(name).map(|()| None),
        (&Method::POST, ["v1", "transit", "sign", name]) => {
            if mode == Mode::WrongInput {
                request["input"] = json!(Base64::encode_string(&[7; 32]));
            }
            let name = if mode == Mode::WrongKey { "impostor" } else { name };
            let mut signed = match mode {
                Mode::Picky => Err((400, "it signs nothing like this".to_owned())),
                _ => state.engine.sign(name, &request),
            };
            state.signatures += usize::from(signed.is_ok());
            if let Ok(signed) = &mut signed {
                let signature = signed["signature"].as_str().unwrap_or_default().to_owned();
                match mode {
                    Mode::WrongVersion => {
                        signed["signature"] = json!(signature.replacen("vault:v1:", "vault:v2:", 1));
                    }
                    Mode::Garbage => signed["signature"] = json!("vault:v1:AAAA"),
                    _ => {}
                }
            }
            signed.map(Some)
        }
        _ => Err((404, "no handler for route".to_owned())),
    };
    Ok(match data {
        Ok(Some(data)) => reply(
            200,
            &json!({ "request_id": "0", "lease_id": "", "renewable": false, "lease_duration": 0, "data": data }),
        ),
        Ok(None) => {
            let mut answer = Response::new(Answered { left: None, endless: false });
            *answer.status_mut() = hyper::StatusCode::NO_CONTENT;
            answer
        }
        Err((status, why)) => errors(status, &why),
    })
}
