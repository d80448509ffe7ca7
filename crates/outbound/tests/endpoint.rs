//! What an endpoint does with servers that are good, slow, talkative or gone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use firmseal_outbound::{Endpoint, OutboundError, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How a server treats each connection.
#[derive(Clone, Copy)]
enum Manner {
    /// Answers every request.
    Good,
    /// Answers one request and closes, without saying so before.
    Curt,
    /// Reads and says nothing.
    Silent,
    /// Sends the browser elsewhere.
    Redirects,
}

struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(manner: Manner) -> Server {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", socket.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, manner));
            }
        });
        Server { url, connections }
    }

    fn endpoint(&self) -> Endpoint {
        self.endpoint_within(Duration::from_secs(60))
    }

    fn endpoint_within(&self, patience: Duration) -> Endpoint {
        Endpoint::new(&self.url, None, patience).unwrap()
    }
}

async fn serve(mut stream: TcpStream, manner: Manner) {
    let mut seen = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        seen.extend_from_slice(&piece[..count]);
        let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(seen.drain(..end + 4).collect()).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        let answer = match manner {
            Manner::Silent => continue,
            Manner::Redirects => {
                "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            _ => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len()),
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        if matches!(manner, Manner::Curt) {
            return;
        }
    }
}

#[tokio::test]
async fn a_connection_serves_again() {
    let server = Server::start(Manner::Good).await;
    let endpoint = server.endpoint();
    for path in ["a", "b", "c"] {
        assert_eq!(endpoint.get(path, 99).await.unwrap().body, format!("/base/{path}"));
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let server = Server::start(Manner::Curt).await;
    let endpoint = server.endpoint();
    for round in 1..=5 {
        assert_eq!(endpoint.get("a", 99).await.unwrap().status, 200);
        // The runtime notices the close before the next request begins.
        while server.connections.load(Ordering::SeqCst) < round {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn an_answer_is_bounded_in_length_and_time() {
    let long = Server::start(Manner::Good).await;
    let path = "x".repeat(100);
    assert_eq!(long.endpoint().get(&path, 50).await, Err(OutboundError::TooLong(50)));
    let silent = Server::start(Manner::Silent).await;
    assert_eq!(
        silent.endpoint_within(Duration::from_millis(500)).get("a", 50).await,
        Err(OutboundError::Timeout)
    );
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let server = Server::start(Manner::Redirects).await;
    assert_eq!(server.endpoint().get("a", 50).await.unwrap().status, 302);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn addresses_that_cannot_be_used_are_named() {
    let timeout = Duration::from_secs(1);
    for (url, why) in [
        ("https://hsm.example", "certificate authorities"),
        ("ftp://hsm.example", "begins with http"),
        ("http://user@hsm.example", "a name before the host"),
        ("http://hsm.example/?q", "a query"),
        ("/v1", "no host"),
    ] {
        let error = Endpoint::new(url, None, timeout).unwrap_err().to_string();
        assert!(error.contains(url) && error.contains(why), "{error}");
    }
    let endpoint = Endpoint::new("http://127.0.0.1:1/", None, timeout).unwrap();
    assert!(!endpoint.is_private());
    let bent = endpoint.send(Request::get("a b\r\nx: y", 9)).await;
    assert!(matches!(bent, Err(OutboundError::Address { .. })), "{bent:?}");
}
