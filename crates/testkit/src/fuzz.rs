//! Entry points for hostile bytes, and a mutator that runs them on stable.
//!
//! `fuzz/` calls the same functions from libFuzzer. Nothing may panic,
//! overflow the stack or run without end, whatever the bytes.

use std::sync::OnceLock;

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Envelope, Image, Root, admit, boot};

use crate::craft::{Craft, Members};
use crate::engine::{Script, run};
use crate::item;
use crate::vectors::{Scene, Vector};

/// A decoded envelope is asked for everything that it has.
pub fn envelope(bytes: &[u8]) {
    if let Ok(envelope) = Envelope::decode(bytes) {
        assert!(envelope.signatures().count() <= firmseal_core::limits::SIGNATURES_MAX);
        for label in [16, 20, 23] {
            envelope.severed(label);
        }
        envelope.integrated("#x");
        assert_eq!(envelope.bytes(), bytes);
    }
}

/// A decoded root document is verified and asked for everything.
pub fn root(bytes: &[u8]) {
    if let Ok(root) = Root::decode(bytes) {
        for role in root.roles() {
            assert!((1..=role.holders().count()).contains(&role.threshold()));
            assert!(role.keys().count() >= role.threshold());
            role.products().map(Iterator::count);
        }
        let _ = root.verify(&RustCrypto);
    }
}

/// The bytes are an envelope as it comes from a carrier, and then a
/// manifest that a trusted key has signed: a stolen key must not crash a
/// device either.
pub fn admit_and_boot(bytes: &[u8]) {
    static WORLD: OnceLock<(Scene, Vec<u8>)> = OnceLock::new();
    let (scene, root) = WORLD.get_or_init(|| {
        let mut scene = Scene::default();
        let root = scene.world.root_document();
        scene.boot();
        (scene, root)
    });
    judge(&scene.device, root, bytes);
    judge(&scene.device, root, &signed(scene, bytes));
}

/// An envelope around these bytes as a manifest, signed, with the severed
/// members of the scene's own release.
pub fn signed(scene: &Scene, manifest: &[u8]) -> Vec<u8> {
    use firmseal_core::crypto::Crypto;
    let wrapped = item::bytes(manifest);
    let digest = RustCrypto.digest(&wrapped);
    let mut block = crate::craft::Block::unsigned(scene.key());
    block.sign(scene.key(), b"", &digest);
    let wrapper = item::array(&[item::bytes(&item::suit_digest(&digest)), item::bytes(&block.encode())]);
    let mut members = scene.craft.envelope.clone();
    members.set(2, item::bytes(&wrapper));
    members.set(3, wrapped);
    item::tag(107, &members.encode())
}

fn judge(device: &Vector, root: &[u8], envelope: &[u8]) {
    let mut vector = device.clone();
    (vector.root, vector.envelope) = (root.to_vec(), envelope.to_vec());
    for component in &mut vector.components {
        component.sequence = 0;
    }
    let script = Script { images: vec![vector.measured.first().copied(); 8], failing: vec![], content: true };
    let asked = vector.ask(|device, envelope, measured| {
        if let Ok(admitted) = admit(envelope, device, &RustCrypto) {
            run(admitted.update(device), &script, usize::MAX);
            assert_eq!(admitted.facts().vendor, device.vendor);
            assert!(admitted.facts().epoch >= device.epoch);
        }
        if let Ok(bootable) = boot(envelope, measured, device, Image::Confirmed, &RustCrypto) {
            run(bootable.invocation(device), &script, usize::MAX);
        }
    });
    assert!(asked.is_ok(), "the scene's own documents are good");
}

/// Whatever it is, it prints or is refused.
pub fn print(bytes: &[u8]) {
    if let Ok(printed) = firmseal_manifest::print::envelope(bytes) {
        let printed = printed.to_string();
        // A terminal must not be steered by what it shows.
        assert!(printed.chars().all(|c| c == '\n' || !c.is_control()), "{printed:?}");
    }
}

/// The head of a bundle, and the head of a blob after it.
pub fn bundle(bytes: &[u8]) {
    let mut input = bytes;
    if let Ok(head) = firmseal_manifest::bundle::read_head(&mut input) {
        assert_eq!(head.offset as usize, bytes.len() - input.len());
        let _ = firmseal_manifest::bundle::read_blob_head(&mut input, 4096);
    }
}

/// Inputs to begin with: every vector, and their manifests by themselves.
pub fn seeds() -> Vec<Vec<u8>> {
    let vectors = crate::vectors::cases::all();
    let mut seeds: Vec<Vec<u8>> = crate::vectors::roots::all().into_iter().map(|root| root.root).collect();
    for vector in vectors.into_iter().filter(|vector| vector.envelope.len() < 8192) {
        if vector.expect.is_ok() {
            seeds.push(item::content(&Members::parse(&item::untag(&vector.envelope)).get(3)));
        }
        seeds.push(vector.envelope);
    }
    // A bundle: a CBOR sequence, as the trust protocol describes it.
    let envelope = Craft::of(&Scene::default().assembled()).seal(&[]);
    let roots = item::array(&[item::bytes(&seeds[0])]);
    let (first, second) = (firmseal_manifest::bundle::MAGIC_1, firmseal_manifest::bundle::MAGIC);
    let documents = [item::bytes(b"revocation"), item::bytes(b"")].concat();
    for (magic, documents) in [(first, vec![]), (second, documents)] {
        let head = [item::text(magic), roots.clone(), documents, item::bytes(&envelope)];
        seeds.push([head.concat(), item::bytes(b"abc")].concat());
    }
    seeds
}

/// Changes inputs a little: bits, bytes, lengths, pieces of one another,
/// and whole members of nested maps and arrays.
pub struct Mutator {
    state: u64,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    /// A mutator; the same seed makes the same inputs.
    pub fn new(seed: u64) -> Mutator {
        Mutator { state: seed | 1, seeds: seeds() }
    }

    fn number(&mut self, below: usize) -> usize {
        // xorshift64* (Vigna 2016).
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    }

    /// The next input.
    pub fn input(&mut self) -> Vec<u8> {
        let at = self.number(self.seeds.len());
        let mut input = self.seeds[at].clone();
        for _ in 0..=self.number(3) {
            input = if self.number(2) == 0 { self.bytes(input) } else { self.structure(&input, 0) };
        }
        input
    }

    fn bytes(&mut self, mut input: Vec<u8>) -> Vec<u8> {
        // Heads that lie: long, indefinite, nested, reserved.
        const HEADS: [&[u8]; 10] = [
            &[0x9f],
            &[0xbf],
            &[0x5f],
            &[0xff],
            &[0xc1; 40],
            &[0x81; 60],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9a, 0xff, 0xff, 0xff, 0xff],
            &[0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x1c],
        ];
        let at = self.number(input.len() + 1);
        match self.number(6) {
            0 if at < input.len() => input[at] ^= 1 << self.number(8),
            1 if at < input.len() => input[at] = self.number(256) as u8,
            2 => input.truncate(at),
            3 => {
                let head = HEADS[self.number(HEADS.len())];
                input.splice(at..at, head.iter().copied());
            }
            4 => {
                let end = (at + self.number(8)).min(input.len());
                input.drain(at..end);
            }
            _ => {
                let other = self.number(self.seeds.len());
                let from = self.number(self.seeds[other].len());
                let piece: Vec<u8> = self.seeds[other][from..].iter().copied().take(64).collect();
                input.splice(at..at, piece);
            }
        }
        input
    }

    /// Descends into well-formed CBOR, byte strings that hold some
    /// included, changes one item there and writes every length anew.
    fn structure(&mut self, input: &[u8], depth: usize) -> Vec<u8> {
        if !item::well_formed(input) || (depth > 0 && self.number(5) == 0) {
            return match self.number(3) {
                0 => {
                    [item::uint(self.number(64) as u64), item::null(), item::bytes(&[0x80]), item::array(&[])]
                        [self.number(4)]
                    .clone()
                }
                1 => item::int(self.number(600) as i64 - 300),
                _ => self.bytes(input.to_vec()),
            };
        }
        match input.first().map(|head| head >> 5) {
            Some(2) if item::well_formed(&item::content(input)) => {
                item::bytes(&self.structure(&item::content(input), depth + 1))
            }
            Some(2) => {
                let content = item::content(input);
                item::bytes(&self.bytes(content))
            }
            Some(major @ (4 | 5)) => {
                let mut items = item::split(input);
                let at = self.number(items.len());
                match self.number(6) {
                    _ if items.is_empty() => items = vec![item::uint(1), item::uint(1)],
                    0 => drop(items.remove(at)),
                    1 => items.insert(at, items[at].clone()),
                    2 => {
                        let other = self.number(items.len());
                        items.swap(at, other);
                    }
                    _ => items[at] = self.structure(&items[at].clone(), depth + 1),
                }
                if major == 4 {
                    return item::array(&items);
                }
                if items.len() % 2 == 1 {
                    items.push(item::null());
                }
                item::map(&items.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect::<Vec<_>>())
            }
            Some(6) => item::tag(item::argument(input), &self.structure(&item::untag(input), depth + 1)),
            _ => self.bytes(input.to_vec()),
        }
    }
}

/// How many inputs a harness tries: `FIRMSEAL_FUZZ_ITERATIONS`, or a
/// number that takes seconds.
pub fn iterations(usual: usize) -> usize {
    std::env::var("FIRMSEAL_FUZZ_ITERATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(usual)
}
