//! Refusals: whatever a carrier does, a device says no with a number of its
//! own, and what runs stays as it is, to the byte.
//!
//! The carrier here has the honest server's certificate and key. What it
//! serves is what the fleet was really offered, or what another registry
//! under the same keys signed; each attack is tried over the network and as
//! a bundle.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use firmseal_api::updates::{Phase, Report};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_e2e::anatomy::{Bundle, Envelope, ends_and_middle, flipped};
use firmseal_e2e::device::{Model, identifiers};
use firmseal_e2e::firmware::{U_BOOT, rebuilt};
use firmseal_e2e::hostile::{Asked, Lie, Script, announced, honest, whole};
use firmseal_e2e::spy::{Captured, Spy};
use firmseal_e2e::{Chance, Device, Hostile, Operator, Server, Shell};
use firmseal_manifest::ArtifactId;

const GATEWAY: Model<'_> = Model { product: "gateway", components: &[("main", 1 << 20)], settings: "" };

/// A device that runs release 1.1.0, sequence 2, epoch 1, and the carrier
/// that is in its way.
struct Bench {
    t: Shell,
    device: Device,
    /// Its active slot: the boot record, which is compared, says the same.
    active: String,
    hostile: Hostile,
    /// The offers of 1.0.0 and 1.1.0, as they were made.
    captured: [Captured; 2],
    /// The next release, properly signed: what a carrier tampers with.
    good: Bundle,
}

/// How an attack must end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// Refused for good, with this number.
    Refused(u16),
    /// A carrier that does not deliver: exit code 6, tried again later.
    Carrier,
    /// A server that makes no sense: exit code 7.
    Server,
}

impl Bench {
    fn new() -> Bench {
        let t = Shell::new();
        let port = firmseal_e2e::server::init(&t, "place");
        // The same keys and root, before anything was signed with them.
        t.ok("cp -r place fresh");
        let mut server = Server::in_place(&t, "place", port);
        server.start();
        t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
        let device = Device::enrol(&t, &server, "gateway-1", &GATEWAY);
        let operator = Operator::new(server.place(), &server.operators());
        let spy = Spy::enrol(&operator, &server, "gateway");

        let image = U_BOOT.bytes();
        let builds = [image.clone(), rebuilt(&image), rebuilt(&rebuilt(&image)[1..])];
        for (number, build) in builds.iter().enumerate() {
            t.write(&format!("{number}.bin"), build);
        }
        let captured = [0, 1].map(|number| {
            let release = t.json(&format!(
                "firmseal release create --product gateway --version 1.{number}.0 --epoch 1 \
                 --component main={number}.bin --build ci-{number} --commit c0ffee"
            ));
            t.ok(&format!("firmseal rollout create {}", release["id"].as_str().unwrap()));
            device.ok("poll-once").says(&format!("installed 1.{number}.0"));
            device.ok("boot");
            device.ok("poll-once").says("confirmed");
            spy.capture(&operator)
        });
        let hostile = Hostile::start(server.place());
        server.stop();
        device.redirect(hostile.url());
        let good = sign(&t, "good", "fresh", &product("gateway", "example.com", "gateway"), 3, 1);
        let active = device.active();
        Bench { t, device, active, hostile, captured, good }
    }

    /// A server that offers a bundle's release, in words that fit it.
    fn script(&self, bundle: &Bundle) -> Script {
        self.script_with(bundle, bundle.part(&bundle.envelope))
    }

    fn script_with(&self, bundle: &Bundle, envelope: Vec<u8>) -> Script {
        let mut offer = self.captured[1].offer.clone();
        offer.envelope_size = envelope.len() as u64;
        offer.envelope_sha256 = ArtifactId(RustCrypto.digest(&envelope));
        // The payload's name is in the signed manifest, as it was signed.
        let signed = Bundle::of(self.t.read("good.bundle"));
        let of = if bundle.payload == signed.payload { &signed } else { bundle };
        let name = format!("payloads/{}", RustCrypto.digest(&of.bytes[of.payload.clone()]));
        let blobs = BTreeMap::from([
            (format!("{name}.tree"), bundle.part(&bundle.tree)),
            (name, bundle.part(&bundle.payload)),
        ]);
        Script { offer, envelope, blobs, lie: honest }
    }

    /// Offers this over the network.
    fn offers(&self, about: &str, script: Script, end: End) {
        let before = self.state(end);
        self.hostile.reports();
        let offer = script.offer.clone();
        self.hostile.serve(script);
        let ran = self.device.run("poll-once");
        match end {
            End::Refused(code) => {
                ran.fails(8, &format!("(code {code})"));
                let reports = self.hostile.reports();
                // Refused bundles are reported as well, without an offer's ids.
                let of_offer = |report: &&Report| report.phase == Phase::Refused && report.build.is_some();
                let refusal = reports.iter().find(of_offer);
                let refusal = refusal.unwrap_or_else(|| panic!("{about}: no report: {reports:?}"));
                assert_eq!(refusal.code, Some(code), "{about}");
                assert_eq!(refusal.build.as_ref(), Some(&offer.build), "{about}");
                assert_eq!(refusal.request, Some(offer.request), "{about}");
            }
            End::Carrier => drop(ran.fails(6, "error: ")),
            End::Server => drop(ran.fails(7, "error: ")),
        }
        assert!(self.state(end) == before, "{about}: the device changed");
    }

    /// Offers this as a bundle.
    fn carries(&self, about: &str, bundle: &[u8], end: End) {
        let before = self.state(end);
        let path = self.t.write("attack.bundle", bundle);
        let ran = self.device.run(&format!("install {}", path.display()));
        match end {
            End::Refused(code) => drop(ran.fails(8, &format!("(code {code})"))),
            End::Carrier | End::Server => drop(ran.fails(6, "error: ")),
        }
        assert!(self.state(end) == before, "{about}: the device changed");
    }

    fn both(&self, about: &str, bundle: &Bundle, end: End) {
        self.offers(about, self.script(bundle), end);
        self.carries(about, &bundle.bytes, end);
    }

    fn state(&self, end: End) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
        match end {
            End::Refused(_) => self.device.untouchable(&self.active),
            End::Carrier | End::Server => self.device.untouchable_by_carriers(&self.active),
        }
    }

    /// No attack kept the device from what is good.
    fn still_installs(&self) {
        let mut script = self.script(&self.good);
        // An offer's own words are only words.
        (script.offer.envelope_size, script.offer.sequence) = (u64::MAX, 0);
        script.offer.envelope_sha256 = ArtifactId(firmseal_manifest::Digest([7; 32]));
        self.hostile.serve(script);
        self.device.ok("poll-once").says("installed 2.0.0");
        self.device.ok("boot").says("2.0.0 runs, on trial");
        self.device.ok("poll-once").says("confirmed");
        let image = self.good.part(&self.good.payload);
        let slot = self.device.slot("main", &self.device.active());
        assert!(slot[..image.len()] == image[..]);
    }
}

fn product(name: &str, vendor: &str, class: &str) -> String {
    let (vendor_id, class_id) = identifiers(class);
    let vendor_id = if vendor == "example.com" { vendor_id } else { uuid(vendor) };
    format!(
        "id = \"{name}\"\nenvironment = \"test\"\nvendor = \"{vendor_id}\"\nclass = \"{class_id}\"\n\
         format = \"raw\"\ncomponents = [{{ name = \"main\", capacity = 1048576, block_size = 4096 }}]\n"
    )
}

fn uuid(name: &str) -> uuid::Uuid {
    uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_DNS, name.as_bytes())
}

/// Signs a release in a copy of `place`, as another registry under the same
/// keys would.
fn sign(t: &Shell, name: &str, place: &str, product: &str, sequence: u64, epoch: u64) -> Bundle {
    t.ok(&format!("cp -r {place} registry-{name}"));
    t.write(&format!("{name}.toml"), product);
    t.ok(&format!(
        "firmseal sign-offline --place registry-{name} --product-file {name}.toml --version 2.0.0 --epoch {epoch} \
         --sequence {sequence} --component main=2.bin -o {name}.bundle"
    ));
    Bundle::of(t.read(&format!("{name}.bundle")))
}

#[test]
fn what_is_signed_for_another_device_or_another_time_is_refused() {
    let bench = Bench::new();
    let t = &bench.t;
    let own = product("gateway", "example.com", "gateway");
    t.ok("firmseal init stranger");
    for (about, place, product, sequence, epoch, code) in [
        ("older-sequence", "fresh", own.clone(), 1, 1, 400),
        ("equal-sequence", "fresh", own.clone(), 2, 1, 400),
        ("older-epoch", "fresh", own.clone(), 3, 0, 401),
        ("wrong-product", "fresh", product("toaster", "example.com", "gateway"), 3, 1, 303),
        ("wrong-vendor", "fresh", product("gateway", "example.org", "gateway"), 3, 1, 304),
        ("wrong-class", "fresh", product("gateway", "example.com", "toaster"), 3, 1, 305),
        ("wrong-key", "stranger", own.clone(), 3, 1, 202),
    ] {
        let bundle = sign(t, about, place, &product, sequence, epoch);
        bench.both(about, &bundle, End::Refused(code));
        assert_eq!(bench.hostile.sent().len(), 1, "{about}: more than the envelope was fetched");
        // What a device would say, the command line says as well.
        if code == 202 {
            t.run(&format!("firmseal verify --root place/trust/root.cbor {about}.bundle"))
                .fails(3, "refusal 202");
        }
    }
    for (number, captured) in bench.captured.iter().enumerate() {
        bench.offers(&format!("the old offer of 1.{number}.0"), captured.clone().into(), End::Refused(400));
    }
    // An old envelope under a new offer's words.
    let mut mixed = Script::from(bench.captured[0].clone());
    mixed.offer = bench.captured[1].offer.clone();
    mixed.offer.sequence = 77;
    bench.offers("the old envelope under a new number", mixed, End::Refused(400));
    bench.still_installs();
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    let bench = Bench::new();
    let good = &bench.good;
    let envelope = good.part(&good.envelope);
    let parts = Envelope::of(&envelope);
    for (about, part, code) in [
        ("the envelope's tag", &parts.tag, 100),
        ("the signed digest", &parts.digest, 200),
        ("the key id", &(parts.key_id.end - 32..parts.key_id.end), 202),
        ("the signature", &parts.signature, 201),
        ("the facts", &parts.facts, 200),
        ("the manifest", &parts.manifest, 200),
        ("the severed install sequence", &parts.install, 105),
    ] {
        for at in ends_and_middle(part) {
            let bad = flipped(&envelope, at);
            let about = format!("{about}, byte {at}");
            bench.offers(&about, bench.script_with(good, bad.clone()), End::Refused(code));
            bench.carries(&about, &good.with_envelope(&bad), End::Refused(code));
        }
    }
    // The rest of it, wherever chance leads: some number, and no change.
    let mut chance = Chance::new();
    for _ in 0..40 {
        let at = chance.below(envelope.len() as u64) as usize;
        let before = bench.device.untouchable(&bench.active);
        bench.hostile.serve(bench.script_with(good, flipped(&envelope, at)));
        bench.device.run("poll-once").fails(8, "(code ");
        assert!(bench.device.untouchable(&bench.active) == before, "byte {at}");
    }

    for (about, part, code) in [("payload", &good.payload, 600), ("tree", &good.tree, 601)] {
        // First, middle and last block; in a tree the first one is the root's.
        for at in ends_and_middle(part) {
            // The last hash block ends in zeros that are signed, too.
            let bad = Bundle { bytes: flipped(&good.bytes, at), ..good.clone() };
            bench.both(&format!("{about}, byte {}", at - part.start), &bad, End::Refused(code));
        }
    }
    bench.still_installs();
}

#[test]
fn a_carrier_that_lies_about_lengths_gets_nowhere() {
    let bench = Bench::new();
    let good = &bench.good;
    let lies: [(&str, Lie, End); 16] = [
        ("an envelope that breaks off", |a| cut(a, a.is_envelope()), End::Carrier),
        ("a payload that breaks off at once", |a| cut_to(a, a.is_payload(), 0), End::Carrier),
        ("a tree that breaks off at once", |a| cut_to(a, a.is_tree(), 0), End::Carrier),
        ("a payload that ends early and says so", |a| short(a, a.is_payload()), End::Carrier),
        ("a tree that ends early and says so", |a| short(a, a.is_tree()), End::Carrier),
        ("an envelope of ten gigabytes", |a| a.is_envelope().then(huge), End::Refused(101)),
        ("an envelope without end", |a| a.is_envelope().then(endless), End::Server),
        ("half an envelope as if it were whole", |a| short(a, a.is_envelope()), End::Refused(100)),
        ("no envelope at all", |a| a.is_envelope().then(|| whole("200 OK", "", b"")), End::Refused(100)),
        ("a length below zero", |a| lengths(a, "content-length: -1\r\n"), End::Carrier),
        ("two lengths", |a| lengths(a, "content-length: 5\r\ncontent-length: 6\r\n"), End::Carrier),
        ("a length of words", |a| lengths(a, "content-length: many\r\n"), End::Carrier),
        ("a length of 2^64", |a| lengths(a, "content-length: 18446744073709551616\r\n"), End::Carrier),
        ("another range", |a| ranged(a, |from, to, all| (from + 1, to + 1, all)), End::Carrier),
        ("a range from behind the end", |a| ranged(a, |_, _, all| (all, all + 9, all)), End::Server),
        ("a payload that was moved", |a| moved(a), End::Server),
    ];
    for (about, lie, end) in lies {
        println!("# {about}");
        bench.offers(about, Script { lie, ..bench.script(good) }, end);
    }
    let bundle = &good.bytes;
    let end = bundle.len();
    let heads = [0, 1, 5, 18, good.envelope.start - 1, good.envelope.start, good.envelope.end - 1];
    let blobs = [good.tree.start - 2, good.tree.start, good.payload.start, end - 4096, end - 1];
    for len in heads.into_iter().chain(blobs) {
        bench.carries(&format!("a bundle of {len} bytes"), &bundle[..len], End::Carrier);
    }
    // Lengths of blobs that are not those of the signed facts.
    for (about, part) in [("tree", &good.tree), ("payload", &good.payload)] {
        for by in [1, 0x80] {
            let mut bad = bundle.clone();
            bad[part.start - 1] ^= by;
            bench.carries(&format!("another length of the {about}"), &bad, End::Carrier);
        }
    }
    bench.still_installs();
}

fn cut(asked: &Asked<'_>, this: bool) -> Option<Vec<u8>> {
    cut_to(asked, this, asked.wanted().len() / 2)
}

/// The honest head, and only this much of the body.
fn cut_to(asked: &Asked<'_>, this: bool, len: usize) -> Option<Vec<u8>> {
    let honest = asked.honestly();
    this.then(|| honest[..honest.len() - asked.wanted().len() + len].to_vec())
}

/// A complete answer with half of what was asked for.
fn short(asked: &Asked<'_>, this: bool) -> Option<Vec<u8>> {
    this.then(|| whole("200 OK", "", &asked.blob[..asked.blob.len() / 2]))
}

fn huge() -> Vec<u8> {
    announced("200 OK", "content-length: 10000000000\r\n", &vec![0x41; 100_000])
}

fn endless() -> Vec<u8> {
    let mut out = announced("200 OK", "transfer-encoding: chunked\r\n", b"");
    for _ in 0..100 {
        out.extend(b"2710\r\n");
        out.extend(vec![0xd8; 10_000]);
        out.extend(b"\r\n");
    }
    out
}

fn lengths(asked: &Asked<'_>, headers: &str) -> Option<Vec<u8>> {
    (!asked.is_envelope()).then(|| announced("200 OK", headers, asked.wanted()))
}

fn ranged(asked: &Asked<'_>, change: fn(usize, usize, usize) -> (usize, usize, usize)) -> Option<Vec<u8>> {
    let (from, to) = asked.range.unwrap_or((0, asked.blob.len()));
    let (from, to, all) = change(from, to, asked.blob.len());
    let range = format!("content-range: bytes {from}-{}/{all}\r\n", to - 1);
    (!asked.is_envelope()).then(|| whole("206 Partial Content", &range, asked.wanted()))
}

fn moved(asked: &Asked<'_>) -> Option<Vec<u8>> {
    asked.is_payload().then(|| whole("302 Found", "location: https://localhost:1/\r\n", b""))
}
