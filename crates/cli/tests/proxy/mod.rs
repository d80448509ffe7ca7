//! A proxy that cuts connections after so many bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// When to cut: after so many bytes, so many connections.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) upstream: u64,
    pub(crate) connections: u32,
}

#[derive(Default)]
struct State {
    cuts: AtomicU32,
    cut: Mutex<bool>,
    happened: Condvar,
}

pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Counts what goes to the server.
    pub(crate) fn start(server: u16, cut: Cut) -> Proxy {
        Proxy::new(server, cut, true)
    }

    /// Counts what comes from the server.
    pub(crate) fn downstream(server: u16, cut: Cut) -> Proxy {
        Proxy::new(server, cut, false)
    }

    fn new(server: u16, cut: Cut, upstream: bool) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        // Ends with the process of the test.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { continue };
                let (there, back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                for (from, to, counted) in [(there, back, upstream), (server, client, !upstream)] {
                    let state = shared.clone();
                    std::thread::spawn(move || pump(from, to, counted.then_some(cut), &state));
                }
            }
        });
        Proxy { port, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Connections that were cut.
    pub(crate) fn cuts(&self) -> u32 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Waits for the first cut.
    pub(crate) fn wait_for_cut(&self) {
        let mut cut = self.state.cut.lock().unwrap();
        while !*cut {
            cut = self.state.happened.wait(cut).unwrap();
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, cut: Option<Cut>, state: &State) {
    let mut buffer = vec![0; 64 << 10];
    let mut passed = 0;
    while let Ok(count) = from.read(&mut buffer) {
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
        passed += count as u64;
        if let Some(cut) = cut
            && passed > cut.upstream
            && state.cuts.load(Ordering::SeqCst) < cut.connections
        {
            state.cuts.fetch_add(1, Ordering::SeqCst);
            *state.cut.lock().unwrap() = true;
            state.happened.notify_all();
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
