//! An eavesdropper on the network: everything that a device and its server
//! say to each other is recorded, from the enrolment to the confirmation.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use firmseal_e2e::device::Model;
use firmseal_e2e::{Device, Server, Shell, until};

const GATEWAY: Model<'_> = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };
/// Stands in the firmware, and nowhere else.
const SECRET: &[u8] = b"the calibration that competitors would like to have";

/// A wire with somebody on it.
struct Tapped {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    /// Directions of connections that are still open.
    open: Arc<AtomicUsize>,
}

impl Tapped {
    /// A wire to a server: what comes in goes there, and back.
    fn to(server: &str) -> Tapped {
        let server = server.trim_start_matches("https://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<u8>>> = Arc::default();
        let open: Arc<AtomicUsize> = Arc::default();
        let (tap, counted) = (Arc::clone(&heard), Arc::clone(&open));
        // It ends with the process: it holds nothing but sockets.
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&server) else { continue };
                for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)]
                {
                    let (tap, counted) = (Arc::clone(&tap), Arc::clone(&counted));
                    counted.fetch_add(1, Ordering::SeqCst);
                    thread::spawn(move || {
                        let mut piece = [0; 16 << 10];
                        while let Ok(count) = from.read(&mut piece) {
                            tap.lock().unwrap().extend(&piece[..count]);
                            if count == 0 || to.write_all(&piece[..count]).is_err() {
                                break;
                            }
                        }
                        let _ = to.shutdown(Shutdown::Write);
                        counted.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Tapped { port, heard, open }
    }

    /// What was said until now: servers say goodbye after a client has gone.
    fn heard(&self) -> Vec<u8> {
        until("every connection to end", || (self.open.load(Ordering::SeqCst) == 0).then_some(()));
        self.heard.lock().unwrap().clone()
    }
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn eavesdrop_on_the_way_reads_nothing_and_a_stick_is_read() {
    let t = Shell::new();
    let mut server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    let firmware = SECRET.repeat(4000);
    t.write("firmware", &firmware);
    let release = t.json(
        "firmseal release create --product gateway --version 1.0.0 --epoch 1 --component main=firmware",
    );
    let release = release["id"].as_str().unwrap();
    t.ok(&format!("firmseal rollout create {release}"));

    let wire = Tapped::to(&server.devices().replace("localhost", "127.0.0.1"));
    let device = Device::build(&t, "device", &GATEWAY);
    let through = format!("https://localhost:{}", wire.port);
    device.enrol_with(&t, server.place(), &through, "gateway").exits(0);
    device.ok("poll-once").says("installed 1.0.0");
    let said = wire.heard();
    assert!(said.len() > firmware.len(), "the firmware went over this wire: {} bytes", said.len());

    // A boot says nothing at all.
    device.ok("boot").says("1.0.0 runs, on trial");
    assert_eq!(wire.heard().len(), said.len());
    device.ok("poll-once").says("confirmed");
    assert_eq!(device.slot("main", &device.active())[..firmware.len()], firmware);

    let heard = wire.heard();
    let devices = t.json("firmseal device list");
    let id = devices[0]["id"].as_str().unwrap();
    for (what, part) in [
        ("the firmware", SECRET),
        ("the product", b"gateway".as_slice()),
        ("the version", b"1.0.0"),
        ("the device", id.as_bytes()),
        ("the release", release.as_bytes()),
        ("a request", b"/v1/"),
    ] {
        assert!(!holds(&heard, part), "{what} was heard");
    }
    // What remains: a carrier reads what it carries.
    t.ok(&format!("firmseal release export {release} -o gateway.bundle"));
    assert!(holds(&t.read("gateway.bundle"), SECRET));
    server.stop();
}
