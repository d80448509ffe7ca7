//! The end of a connection: said so that the other side hears it.
//!
//! Closing a socket while bytes wait in it unread, or are still on their way,
//! resets the connection, and whoever was sending loses the answer that says
//! why. So the server says that it is done, and throws away what comes until
//! the other side is done too (RFC 9112 §9.6: "the server SHOULD [...] continue
//! to read from the connection until it receives a corresponding close").

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

use super::stall::Stall;

/// How long the other side has to stop, and what it may send meanwhile: the
/// largest piece of an upload. Whoever sends on is cut.
const PATIENCE: Duration = Duration::from_secs(2);
const DISCARDED: usize = 16 * 1024 * 1024;

/// A connection below TLS.
pub(super) type Socket = Stall<TcpStream>;

/// Ends a connection with `close_notify`, so that nobody takes what it has
/// read for less than all of it (RFC 8446 §6.1). What ended already is not
/// ended twice.
pub(super) async fn close(mut stream: TlsStream<Socket>, stop: watch::Receiver<bool>) {
    // A peer that is gone hears nothing; the rest is as short for it.
    let _ = tokio::time::timeout(PATIENCE, stream.shutdown()).await;
    let (socket, _) = stream.into_inner();
    close_socket(socket, stop).await;
}

/// Ends a connection whose handshake failed: the alert that says why is sent.
pub(super) async fn close_socket(mut socket: Socket, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        _ = tokio::time::timeout(PATIENCE, discard(&mut socket)) => {}
        // Nobody waits for a server that is stopping.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

async fn discard(socket: &mut Socket) -> io::Result<()> {
    socket.shutdown().await?;
    let mut piece = vec![0; 16 * 1024];
    let mut left = DISCARDED;
    loop {
        match socket.read(&mut piece).await? {
            0 => return Ok(()),
            count => match left.checked_sub(count) {
                Some(rest) => left = rest,
                None => return Ok(()),
            },
        }
    }
}
