//! TLS settings, judged by `openssl s_client`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use firmseal_fleet::Role;
use firmseal_server::{CertificateOperator, Clock, Server, Serves, create_server_certificate};
use firmseal_store::Operators;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::bench::{Bench, listener, product, sha256};

/// Connects with openssl, asks for `/healthz`, and returns all it said.
async fn openssl(address: SocketAddr, arguments: &[&str]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-ign_eof"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl is installed");
    let mut input = child.stdin.take().unwrap();
    // A refused handshake closes the pipe first; that is an answer too.
    let _ = input.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let output = child.wait_with_output().await.unwrap();
    drop(input);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A client certificate of these names, signed by `issuer`, as two files.
fn client(directory: &Path, file: &str, names: &[&str], issuer: Option<&rcgen::Issuer<'_, rcgen::KeyPair>>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params =
        rcgen::CertificateParams::new(names[1..].iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
            .unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, names[0]);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    fs::write(directory.join(format!("{file}.pem")), certificate.pem()).unwrap();
    fs::write(directory.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

/// A self-signed client certificate with `CA:TRUE` and no key usage, as
/// `openssl req -x509` makes it.
fn tool_made(directory: &Path, file: &str, name: &str) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    fs::write(directory.join(format!("{file}.pem")), certificate.pem()).unwrap();
    fs::write(directory.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

/// A client certificate with one alternative name and no host's name else.
fn alias(directory: &Path, file: &str, name: rcgen::SanType, issuer: &rcgen::Issuer<'_, rcgen::KeyPair>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![name];
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.signed_by(&key, issuer).unwrap();
    fs::write(directory.join(format!("{file}.pem")), certificate.pem()).unwrap();
    fs::write(directory.join(format!("{file}.key")), key.serialize_pem()).unwrap();
}

fn authority(name: &str) -> (String, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), rcgen::Issuer::new(params, key))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_1_3_and_nothing_older() {
    let bench = Bench::start().await;
    let address = bench.address(Serves::Public);
    let ca = bench.file("server.pem");
    let said = openssl(address, &["-CAfile", ca.to_str().unwrap(), "-verify_return_error"]).await;
    assert!(said.contains("TLSv1.3") && said.contains("HTTP/1.1 200"), "{said}");
    assert!(said.contains("Verification: OK"), "{said}");
    let old = openssl(address, &["-tls1_2"]).await;
    assert!(!old.contains("HTTP/1.1 200") && old.contains("alert"), "{old}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_exchange_is_hybrid_post_quantum() {
    let bench = Bench::start().await;
    let mut roots = rustls::RootCertStore::empty();
    let pem = fs::read(bench.file("server.pem")).unwrap();
    roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let tcp = tokio::net::TcpStream::connect(bench.address(Serves::Device)).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let stream =
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, tcp).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), rustls::NamedGroup::X25519MLKEM768);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_vouched_for_clients_of_admitted_names_come_in() {
    let (one, first) = authority("first CA");
    let (two, second) = authority("second CA");
    let (_, stranger) = authority("stranger CA");
    let bench = Bench::with(|config| {
        let directory = config.device_ca.certificate.parent().unwrap().to_owned();
        client(&directory, "ci", &["ci.example.com"], Some(&first));
        client(&directory, "san", &["whoever", "deep.ci.example.org"], Some(&second));
        client(&directory, "wrong", &["ci.example.net"], Some(&first));
        client(&directory, "stranger", &["ci.example.com"], Some(&stranger));
        client(&directory, "chosen", &["chosen.example.com"], None);
        let chosen = fs::read_to_string(directory.join("chosen.pem")).unwrap();
        fs::write(directory.join("clients.pem"), format!("{one}{two}{chosen}")).unwrap();
        fs::write(directory.join("only-chosen.pem"), chosen).unwrap();
        // The same, but made by a tool that calls every self-signed
        // certificate an authority.
        tool_made(&directory, "tool", "chosen.example.com");
        let tool = fs::read_to_string(directory.join("tool.pem")).unwrap();
        fs::write(directory.join("tool-made.pem"), &tool).unwrap();
        let key = rcgen::KeyPair::from_pem(&fs::read_to_string(directory.join("tool.key")).unwrap()).unwrap();
        let upstart = rcgen::Issuer::from_ca_cert_pem(&tool, key).unwrap();
        client(&directory, "upstart", &["chosen.example.com"], Some(&upstart));
        // Names that are not hosts', spelt like one that is admitted.
        alias(&directory, "mail", rcgen::SanType::Rfc822Name("ci.example.com".try_into().unwrap()), &first);
        alias(&directory, "uri", rcgen::SanType::URI("ci.example.com".try_into().unwrap()), &first);
        alias(&directory, "ip", rcgen::SanType::IpAddress("2001:db8::7".parse().unwrap()), &first);
        // Signed by the key of a chosen client certificate: worth nothing.
        let key =
            rcgen::KeyPair::from_pem(&fs::read_to_string(directory.join("chosen.key")).unwrap()).unwrap();
        let pem = fs::read_to_string(directory.join("chosen.pem")).unwrap();
        let climber = rcgen::Issuer::from_ca_cert_pem(&pem, key).unwrap();
        client(&directory, "climber", &["ci.example.com"], Some(&climber));
        let mut strict = listener(&directory, Serves::Public);
        strict.validate_client_certificates = true;
        strict.authority = Some(directory.join("clients.pem"));
        strict.check_remote_host = vec![
            "ci.example.com".into(),
            "*.example.org".into(),
            "chosen.example.com".into(),
            "2001:DB8:0::7".into(),
        ];
        let mut pinned = listener(&directory, Serves::Public);
        pinned.validate_client_certificates = true;
        pinned.authority = Some(directory.join("only-chosen.pem"));
        let mut tooled = pinned.clone();
        tooled.authority = Some(directory.join("tool-made.pem"));
        config.listener = vec![strict, pinned, tooled];
    })
    .await;
    let addresses: Vec<_> = bench.running.as_ref().unwrap().addresses().iter().map(|(_, a)| *a).collect();
    for (listener, file, admitted) in [
        (0, "ci", true),
        (0, "san", true),
        (0, "chosen", true),
        (0, "wrong", false),
        (0, "stranger", false),
        (0, "climber", false),
        (1, "chosen", true),
        (1, "ci", false),
        (1, "climber", false),
        (0, "mail", false),
        (0, "uri", false),
        (0, "ip", true),
        (2, "tool", true),
        (2, "upstart", false),
        (2, "chosen", false),
    ] {
        let (pem, key) = (bench.file(&format!("{file}.pem")), bench.file(&format!("{file}.key")));
        let said =
            openssl(addresses[listener], &["-cert", pem.to_str().unwrap(), "-key", key.to_str().unwrap()])
                .await;
        assert_eq!(said.contains("HTTP/1.1 200"), admitted, "{file} at {listener}: {said}");
        assert_eq!(said.contains(" alert "), !admitted, "{file} at {listener}: {said}");
    }
    let nobody = openssl(addresses[0], &[]).await;
    assert!(nobody.contains("alert certificate required"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_certificates_are_used_without_a_restart_and_bad_ones_are_not() {
    let bench = Bench::start().await;
    let address = bench.address(Serves::Public);
    let running = bench.running.as_ref().unwrap();
    let fingerprint = |said: &str| {
        let (_, rest) = said.split_once("-----BEGIN CERTIFICATE-----")?;
        rest.split_once("-----END").map(|(certificate, _)| certificate.to_owned())
    };
    let before = fingerprint(&openssl(address, &[]).await);
    assert!(before.is_some());
    assert_eq!(running.reload(), 0, "nothing changed");

    fs::write(bench.file("server.pem"), "this is no certificate").unwrap();
    assert_eq!(running.reload(), 0);
    assert_eq!(fingerprint(&openssl(address, &[]).await), before, "the old one stays");

    let new = create_server_certificate(&["localhost".to_owned()], 365, bench.clock.now()).unwrap();
    fs::write(bench.file("server.pem"), &new.certificate).unwrap();
    assert_eq!(running.reload(), 0, "the key does not fit yet");
    fs::write(bench.file("server.key"), new.key.as_bytes()).unwrap();
    // Every few seconds the server looks by itself: it may have been first.
    running.reload();
    let after = fingerprint(&openssl(address, &[]).await);
    assert_ne!(after, before);
    assert!(after.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_be_a_certificate() {
    let (pem, ca) = authority("operators CA");
    let bench = Bench::with(|config| {
        let directory = config.device_ca.certificate.parent().unwrap().to_owned();
        client(&directory, "named", &["ci.example.com"], Some(&ca));
        client(&directory, "kept", &["carol"], Some(&ca));
        client(&directory, "unknown", &["mallory"], Some(&ca));
        fs::write(directory.join("clients.pem"), &pem).unwrap();
        config.listener[0].validate_client_certificates = true;
        config.listener[0].authority = Some(directory.join("clients.pem"));
        client(&directory, "configured", &["dave", "Build.Example.com"], Some(&ca));
        config.operator = vec![CertificateOperator {
            name: "build.example.com".to_owned(),
            roles: [firmseal_api::access::Role::Auditor, firmseal_api::access::Role::Admin].into(),
            team: None,
            scope: Default::default(),
        }];
    })
    .await;
    let kept = CertificateDer::from_pem_slice(&fs::read(bench.file("kept.pem")).unwrap()).unwrap();
    let credential = firmseal_fleet::Credential {
        id: firmseal_fleet::CredentialId(uuid::Uuid::now_v7()),
        operator: "carol".to_owned(),
        kind: firmseal_fleet::CredentialKind::Certificate,
        digest: sha256(&kept),
        roles: [Role::Admin].into(),
        team: None,
        scope: Default::default(),
        created: bench.clock.now(),
        expires: None,
        revoked: None,
    };
    bench.store.insert_credential(credential, &firmseal_fleet::Caller::local("bench")).await.unwrap();
    for (file, listed, made) in
        [("named", 200, 403), ("kept", 403, 200), ("configured", 200, 200), ("unknown", 401, 401)]
    {
        let (chain, key) = (bench.file(&format!("{file}.pem")), bench.file(&format!("{file}.key")));
        let (chain, key) = (fs::read(chain).unwrap(), fs::read(key).unwrap());
        let client = bench.builder(Serves::Operator).identity(&chain, &key).build().unwrap();
        let seen = |err: firmseal_api::client::ClientError| err.status().unwrap().as_u16();
        let list = client.operator().products(&Default::default()).await;
        assert_eq!(list.map_or_else(seen, |_| 200), listed, "{file} lists");
        let make = client.operator().create_product(&product("gateway")).await;
        assert_eq!(make.map_or_else(seen, |_| 200), made, "{file} makes");
    }
    // A certificate's bytes are public: they are no token.
    let token = bench
        .builder(Serves::Operator)
        .identity(&fs::read(bench.file("kept.pem")).unwrap(), &fs::read(bench.file("kept.key")).unwrap());
    let token = token.token("guess").build().unwrap();
    let refused = token.operator().create_product(&product("other")).await.unwrap_err();
    assert_eq!(refused.status().unwrap().as_u16(), 401, "a bad token is not mended by a good certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_others_may_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::start().await;
    let mode = |name: &str, mode| {
        fs::set_permissions(bench.file(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let start = async || {
        let sockets = [tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap()];
        let mut config = bench.config.clone();
        config.listener.truncate(1);
        Server::start_on(config, bench.deps(), sockets.into()).await.err().map(|err| err.to_string())
    };
    for name in ["server.key", "ca.key"] {
        for open in [0o640, 0o604, 0o666] {
            mode(name, open);
            let refused = start().await.unwrap();
            assert!(refused.contains(name) && refused.contains("chmod 600"), "{refused}");
        }
        mode(name, 0o600);
    }
    assert_eq!(start().await, None);
    // New files with an open key are not taken; the old ones stay in use.
    let new = create_server_certificate(&["localhost".to_owned()], 365, bench.clock.now()).unwrap();
    mode("server.key", 0o644);
    fs::write(bench.file("server.pem"), &new.certificate).unwrap();
    fs::write(bench.file("server.key"), new.key.as_bytes()).unwrap();
    assert_eq!(bench.running.as_ref().unwrap().reload(), 0);
}
