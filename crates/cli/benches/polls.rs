//! Polls that report nothing new, over mutual TLS with keep-alive, with
//! 10,000 devices enrolled, against nginx serving a static file of the same
//! size over the same TLS. What counts is requests per second of the
//! server's processor time, so the load generator is no part of it.
//!
//! `cargo bench --profile dist -p firmseal --bench polls -- [DEVICES]`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use firmseal_api::client::Client;
use firmseal_api::enrolment::{CreateToken, Enrol};
use firmseal_api::updates::{Bootloader, DeviceState, Poll, Running as Runs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use support::{Running, Server};

const CONNECTIONS: usize = 32;
const ROUND: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

/// A device's certificate chain and key, PEM.
struct Identity {
    chain: String,
    key: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-p", "-c", "1", &pid]).output();
    assert!(pinned.is_ok_and(|done| done.status.success()), "taskset (util-linux) pins the load generator");
    let devices = std::env::args().filter_map(|text| text.parse().ok()).next().unwrap_or(10_000);
    let running = support::serve().await;
    let begun = Instant::now();
    let identities = enrol(&running, devices).await;
    println!("enrolled {devices} devices in {:.1} s", begun.elapsed().as_secs_f64());

    let poll = request(&running);
    let answer =
        exchange(&mut connect(&identities[0], running.devices, &running.authority).await, &poll).await;
    let nginx = Nginx::start(&running, &answer);
    let fetch = format!("GET /answer.json HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", nginx.port).into_bytes();

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let poll = load(&running.server, running.devices, &running, &identities, &poll).await;
        let file = load(&nginx.server, nginx.port, &running, &identities, &fetch).await;
        println!(
            "round {round}: firmseal {poll:>8.0}, nginx {file:>8.0} requests per processor second, ratio {:.2}",
            poll / file
        );
        ours.push(poll);
        theirs.push(file);
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!(
        "median: firmseal {ours:.0}, nginx {theirs:.0}, ratio {:.2} (target: at least 0.5)",
        ours / theirs
    );
}

/// Enrols devices as devices do; returns those that will poll.
async fn enrol(running: &Running, devices: u32) -> Vec<Identity> {
    running.product("gateway").await;
    let token = CreateToken {
        product: "gateway".parse().unwrap(),
        labels: Default::default(),
        uses: Some(devices),
        valid_for: Some(3600),
    };
    let token = running.operator.operator().create_enrolment_token(&token).await.unwrap().token;
    let server = format!("https://localhost:{}", running.devices);
    let client = Client::builder(&server).authorities(&running.authority).build().unwrap();
    let client = Arc::new(client);
    let mut tasks = JoinSet::new();
    let mut identities = Vec::new();
    for number in 0..devices {
        let (client, token) = (client.clone(), token.clone());
        tasks.spawn(async move {
            let key = rcgen::KeyPair::generate().unwrap();
            let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
            let enrolled = client.device().enrol(&Enrol { token, csr }).await.unwrap();
            (number, Identity { chain: enrolled.certificate, key: key.serialize_pem() })
        });
        if tasks.len() >= 32 {
            keep(&mut identities, tasks.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(done) = tasks.join_next().await {
        keep(&mut identities, done.unwrap());
    }
    identities
}

fn keep(identities: &mut Vec<Identity>, (_, identity): (u32, Identity)) {
    if identities.len() < CONNECTIONS {
        identities.push(identity);
    }
}

fn request(running: &Running) -> Vec<u8> {
    let poll = Poll {
        state: DeviceState {
            agent: "bench".to_owned(),
            root_version: 1,
            running: Some(Runs {
                manifest: None,
                version: semver::Version::new(1, 0, 0),
                sequence: 1,
                epoch: 1,
                slot: "a".to_owned(),
                confirmed: true,
            }),
            hardware: None,
            bootloader: Bootloader::default(),
        },
        reports: Vec::new(),
    };
    let body = serde_json::to_string(&poll).unwrap();
    format!(
        "POST /v1/poll HTTP/1.1\r\nHost: localhost:{}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        running.devices,
        body.len()
    )
    .into_bytes()
}

async fn connect(identity: &Identity, port: u16, authority: &[u8]) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority).unwrap()).unwrap();
    let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}

/// Sends a request and reads its answer; returns the body.
async fn exchange(stream: &mut TlsStream<TcpStream>, request: &[u8]) -> Vec<u8> {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::with_capacity(1024);
    loop {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the server hung up");
        let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().unwrap())
        });
        if answer.len() >= end + 4 + length.expect("a length") {
            return answer.split_off(end + 4);
        }
    }
}

/// Requests per second of the server's processor time.
async fn load(server: &Server, port: u16, running: &Running, identities: &[Identity], request: &[u8]) -> f64 {
    let mut streams = Vec::new();
    for identity in identities {
        let mut stream = connect(identity, port, &running.authority).await;
        // What is new is reported once, before the clock starts.
        exchange(&mut stream, request).await;
        streams.push(stream);
    }
    let (cpu, end) = (server.cpu(), Instant::now() + ROUND);
    let mut tasks = JoinSet::new();
    for mut stream in streams {
        let request = request.to_vec();
        tasks.spawn(async move {
            let mut count = 0u32;
            while Instant::now() < end {
                exchange(&mut stream, &request).await;
                count += 1;
            }
            count
        });
    }
    let count: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(count) / (server.cpu() - cpu).as_secs_f64()
}

/// nginx with the same certificates.
struct Nginx {
    server: Server,
    port: u16,
}

impl Nginx {
    fn start(running: &Running, answer: &[u8]) -> Nginx {
        let directory = running.place.join("nginx");
        std::fs::create_dir_all(directory.join("html")).unwrap();
        std::fs::write(directory.join("html/answer.json"), answer).unwrap();
        let port = support::free_port();
        let (here, tls) = (directory.display(), running.place.join("tls"));
        let tls = tls.display();
        let config = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\npid {here}/pid;\nerror_log {here}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  keepalive_requests 100000000;\n  types {{ application/json json; }}\n\
             \x20 client_body_temp_path {here}/body;\n  proxy_temp_path {here}/proxy;\n\
             \x20 fastcgi_temp_path {here}/fastcgi;\n  uwsgi_temp_path {here}/uwsgi;\n  scgi_temp_path {here}/scgi;\n\
             \x20 open_file_cache max=10;\n\
             \x20 server {{\n    listen 127.0.0.1:{port} ssl;\n    root {here}/html;\n\
             \x20   ssl_certificate {tls}/server.pem;\n    ssl_certificate_key {tls}/server.key;\n\
             \x20   ssl_client_certificate {tls}/device-ca.pem;\n    ssl_verify_client on;\n\
             \x20   ssl_protocols TLSv1.3;\n  }}\n}}\n"
        );
        let file = directory.join("nginx.conf");
        std::fs::write(&file, config).unwrap();
        let server = Server::start(&["nginx", "-c", path(&file), "-p", path(&directory)]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "nginx does not answer; `cargo xtask setup` installs it");
            std::thread::sleep(Duration::from_millis(20));
        }
        Nginx { server, port }
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
