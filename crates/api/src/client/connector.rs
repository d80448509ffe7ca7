//! Connections: TCP, then TLS, under one deadline.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[derive(Clone)]
pub(super) struct Connector {
    tls: TlsConnector,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(config: Arc<ClientConfig>, timeout: Duration) -> Connector {
        Connector { tls: TlsConnector::from(config), timeout }
    }

    async fn connect(self, uri: Uri) -> io::Result<Stream> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let host = uri.host().ok_or_else(|| invalid("the address has no host"))?;
        // A literal IPv6 address stands in brackets in a URL, and only there.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| invalid("the host is neither a name nor an address"))?;
        let port = uri.port_u16().unwrap_or(443);
        let all = async {
            let addresses: Vec<_> = lookup_host((host, port)).await?.collect();
            first(&addresses, self.timeout, |address| {
                let (tls, name) = (self.tls.clone(), name.clone());
                async move {
                    let tcp = TcpStream::connect(address).await?;
                    tcp.set_nodelay(true)?;
                    tls.connect(name, Socket(tcp)).await
                }
            })
            .await
        };
        match tokio::time::timeout(self.timeout, all).await {
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
            Ok(stream) => Ok(Stream(TokioIo::new(stream?))),
        }
    }
}

/// A connection to the first address that gives one. A service may have
/// several, one of a machine that is gone or hangs: it must not take all the
/// time that there is.
async fn first<T, C: Future<Output = io::Result<T>>>(
    addresses: &[SocketAddr],
    timeout: Duration,
    connect: impl Fn(SocketAddr) -> C,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let tries = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    for address in addresses {
        match tokio::time::timeout(timeout / (tries + 1), connect(*address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error,
            Err(_) => {
                last = io::Error::new(io::ErrorKind::TimedOut, format!("no connection to {address} in time"));
            }
        }
    }
    Err(last)
}

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A socket that is written to in one piece at a time.
///
/// The PKCS#11 module lives in C programs, where writing to a connection that
/// the other end has closed ends the program (SIGPIPE). The standard library
/// writes single pieces with `MSG_NOSIGNAL`, and several at once without: so
/// none are offered.
struct Socket(TcpStream);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A TLS connection as hyper reads and writes it.
pub(super) struct Stream(TokioIo<TlsStream<Socket>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpSocket;

    use super::*;

    #[tokio::test]
    async fn a_machine_that_is_silent_leaves_time_for_the_next() {
        // Its queue is full: whoever comes now hears nothing, as from a
        // machine that is gone.
        let silent = TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(1).unwrap();
        let gone = silent.local_addr().unwrap();
        let soon = Duration::from_millis(300);
        let mut queued = Vec::new();
        while let Ok(Ok(tcp)) = tokio::time::timeout(soon, TcpStream::connect(gone)).await {
            queued.push(tcp);
        }
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = there.local_addr().map(|address| (address, there)).unwrap();
        let found = first(&[gone, there.0], soon * 3, TcpStream::connect).await.unwrap();
        assert_eq!(found.peer_addr().unwrap(), there.0);
        let error = first(&[gone], soon, TcpStream::connect).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains(&gone.to_string()), "{error}");
        assert_eq!(first(&[], soon, TcpStream::connect).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
