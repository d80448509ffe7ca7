//! What the tests share: fixtures, test keys that sign, and a judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code, unreachable_pub)]

use std::ops::Range;
use std::path::PathBuf;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair, ML_DSA_44, ML_DSA_65,
    ML_DSA_87, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use firmseal_core::Digest as Digest256;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::mldsa::Set;
use firmseal_formats::{
    Covered, DecryptionKey, ExistingSignature, FormatError, Parameters, Plan, Source, Wanted,
};
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs};

/// Every algorithm that MCUboot images are signed with.
pub const ALGORITHMS: [&str; 5] = ["p256", "p384", "ed25519", "rsa2048", "rsa3072"];

pub fn fixture(path: &str) -> Vec<u8> {
    let path = fixture_path(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn fixture_path(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(path)
}

/// Where other people's implementations are.
pub fn venv() -> PathBuf {
    std::env::var_os("FIRMSEAL_VENV")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"))
}

/// A key of `fixtures/keys`, or an ML-DSA key from a seed, for tests only.
pub struct TestKey {
    pub name: String,
    pub public: PublicKey,
    private: Private,
}

enum Private {
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    MlDsa(Box<firmseal_testkit::TestKey>),
}

/// The parameter set of an ML-DSA key, and the byte that is its seed 32 times.
fn lattice(name: &str) -> Option<(Set, u8)> {
    let own = name.trim_start_matches("other-");
    let Ok(KeyAlgorithm::MlDsa(set)) = own.parse() else { return None };
    Some((set, if own == name { 7 } else { 8 }))
}

/// PKCS #8 of a key; of ML-DSA keys with the seed alone (RFC 9881 §6).
fn private_der(name: &str) -> Vec<u8> {
    let Some((set, seed)) = lattice(name) else { return fixture(&format!("keys/{name}.p8")) };
    let set = match set {
        Set::MlDsa44 => 0x11,
        Set::MlDsa65 => 0x12,
        Set::MlDsa87 => 0x13,
    };
    let oid = [0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, set];
    [&[0x30, 52, 2, 1, 0, 0x30, 11], &oid[..], &[4, 34, 0x80, 32], &[seed; 32]].concat()
}

impl TestKey {
    pub fn load(name: &str) -> TestKey {
        if let Some((set, seed)) = lattice(name) {
            let own = firmseal_testkit::TestKey::ml_dsa(set, seed);
            let (public, private) = (own.public().clone(), Private::MlDsa(Box::new(own)));
            return TestKey { name: name.to_owned(), public, private };
        }
        let der = fixture(&format!("keys/{name}.p8"));
        let ec = |algorithm, signing| {
            let pair = EcdsaKeyPair::from_pkcs8(signing, &der).unwrap();
            (PublicKey::from_point(algorithm, pair.public_key().as_ref()).unwrap(), Private::Ec(pair))
        };
        let (public, private) = match name.trim_start_matches("other-") {
            "p256" => ec(KeyAlgorithm::P256, &ECDSA_P256_SHA256_FIXED_SIGNING),
            "p384" => ec(KeyAlgorithm::P384, &ECDSA_P384_SHA384_FIXED_SIGNING),
            "ed25519" => {
                let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap();
                let public = PublicKey::from_ed25519(pair.public_key().as_ref().try_into().unwrap()).unwrap();
                (public, Private::Ed25519(pair))
            }
            _ => {
                let pair = RsaKeyPair::from_pkcs8(&der).unwrap();
                let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
                (PublicKey::from_spki(spki.as_ref()).unwrap(), Private::Rsa(pair))
            }
        };
        TestKey { name: name.to_owned(), public, private }
    }

    pub fn sign(&self, tbs: &Tbs) -> Signature {
        match (&self.private, tbs) {
            (_, Tbs::PssMax(digest)) => return self.salted_longest(digest),
            (Private::MlDsa(own), _) => return own.sign(tbs),
            _ => {}
        }
        let digest = imported(tbs);
        Signature(match (&self.private, tbs) {
            (Private::Ed25519(pair), Tbs::Message(message)) => pair.sign(message).as_ref().to_vec(),
            (Private::Ec(pair), _) => pair.sign_digest(&digest.unwrap()).unwrap().as_ref().to_vec(),
            (Private::Rsa(pair), _) => {
                let mut out = vec![0; pair.public_modulus_len()];
                let padding: &'static dyn RsaEncoding =
                    if matches!(tbs, Tbs::Pkcs1(_)) { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
                pair.sign_digest(padding, &digest.unwrap(), &mut out).unwrap();
                out
            }
            _ => panic!("an Ed25519 key signs messages"),
        })
    }

    /// With the longest salt, which the library does not make.
    fn salted_longest(&self, digest: &[u8; 32]) -> Signature {
        let openssl = OpenSsl::new(&[self.name.as_str()]);
        openssl.write("digest", digest);
        openssl.ok(&format!(
            "pkeyutl -sign -inkey {}.pem -in digest -out made -pkeyopt digest:sha256 \
             -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:max",
            self.name
        ));
        Signature(openssl.read("made"))
    }
}

fn imported(tbs: &Tbs) -> Option<Digest> {
    let (bytes, algorithm): (&[u8], _) = match tbs {
        Tbs::Message(_) => return None,
        Tbs::Sha256(digest) | Tbs::Pkcs1(digest) | Tbs::PssMax(digest) => (digest, &digest::SHA256),
        Tbs::Sha384(digest) => (digest, &digest::SHA384),
    };
    Digest::import_less_safe(bytes, algorithm).ok()
}

/// What a verifier does with a signature that a file carries.
pub fn verifies(signature: &ExistingSignature, key: &PublicKey) -> bool {
    let Covered::Tbs(tbs) = &signature.covered else { return false };
    if key.algorithm() != signature.algorithm || !signature.claim.admits(key) {
        return false;
    }
    if let Tbs::PssMax(digest) = tbs {
        let Some(firmseal_core::PublicKey::Rsa(core)) = key.as_core() else { return false };
        return core.verify_longest_salt(&Digest256(*digest), &signature.signature.0, &RustCrypto).is_ok();
    }
    let algorithm: &'static dyn aws_lc_rs::signature::VerificationAlgorithm = match signature.algorithm {
        KeyAlgorithm::P256 => &ECDSA_P256_SHA256_FIXED,
        KeyAlgorithm::P384 => &ECDSA_P384_SHA384_FIXED,
        KeyAlgorithm::Ed25519 => &ED25519,
        KeyAlgorithm::Rsa(_) if matches!(tbs, Tbs::Pkcs1(_)) => &RSA_PKCS1_2048_8192_SHA256,
        KeyAlgorithm::Rsa(_) => &RSA_PSS_2048_8192_SHA256,
        KeyAlgorithm::MlDsa(Set::MlDsa44) => &ML_DSA_44,
        KeyAlgorithm::MlDsa(Set::MlDsa65) => &ML_DSA_65,
        KeyAlgorithm::MlDsa(Set::MlDsa87) => &ML_DSA_87,
        other => panic!("no image is signed with {other}"),
    };
    let Ok(parsed) = ParsedPublicKey::new(algorithm, key.bits()) else { return false };
    match (tbs, imported(tbs)) {
        (Tbs::Message(message), _) => parsed.verify_sig(message, &signature.signature.0).is_ok(),
        (_, Some(digest)) => parsed.verify_digest_sig(&digest, &signature.signature.0).is_ok(),
        _ => false,
    }
}

/// Whether a file is accepted under a key: it is well formed and carries a
/// signature of that key over what it contains.
pub fn accepted(source: &dyn Source, key: &PublicKey) -> bool {
    firmseal_formats::inspect(source)
        .is_ok_and(|inspection| inspection.signatures.iter().any(|signature| verifies(signature, key)))
}

/// Prepares, signs and attaches.
pub fn sign(
    source: &dyn Source,
    key: &TestKey,
    version: &str,
    epoch: u64,
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    attach(source, key, version, epoch, parameters, |tbs| key.sign(tbs))
}

/// The same with a signature from elsewhere.
pub fn attach(
    source: &dyn Source,
    key: &TestKey,
    version: &str,
    epoch: u64,
    parameters: &[(&str, &str)],
    signature: impl FnOnce(&Tbs) -> Signature,
) -> Result<Vec<u8>, FormatError> {
    let parameters: Parameters = parameters.iter().copied().collect();
    let wanted = Wanted {
        version: semver::Version::parse(version).unwrap(),
        epoch,
        key: &key.public,
        parameters: &parameters,
    };
    let format = firmseal_formats::find("mcuboot")?;
    let unsigned = format.embedding().unwrap().prepare(source, &wanted)?;
    let plan: Plan = unsigned.attach(&signature(unsigned.tbs()))?;
    let signed = firmseal_formats::inspect(&plan.over(source)?)?;
    assert_eq!(signed.digest(), unsigned.inspection().digest(), "what was approved is what was signed");
    let mut out = Vec::new();
    plan.write_to(source, &mut out)?;
    Ok(out)
}

/// An encrypted image as the device of this private key (PEM) reads it.
pub fn decrypted(source: &[u8], pem: &str) -> Option<Vec<u8>> {
    let key = DecryptionKey::from_pem(pem).unwrap();
    let source = source.to_vec();
    let plan = firmseal_formats::find("mcuboot").unwrap().decrypt(&source, &key).ok()?;
    let mut out = Vec::new();
    plan.write_to(&source, &mut out).unwrap();
    Some(out)
}

/// A seeded generator (SplitMix64): the same numbers on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// Has a file judged with the lowest and the highest bit of each byte flipped,
/// but for those of a range.
pub fn flip_each(good: &[u8], spared: Range<usize>, judge: impl Fn(&[u8], &str)) {
    let places = (0..spared.start).chain(spared.end..good.len());
    for (at, bit) in places.flat_map(|at| [(at, 1), (at, 0x80)]) {
        let mut bytes = good.to_vec();
        bytes[at] ^= bit;
        judge(&bytes, &format!("byte {at}"));
    }
}

/// One to four mutations: bits, bytes, interesting words, cuts, moves.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = match random.below(2) {
            // Headers and TLVs are where the decisions are.
            0 => random.below(bytes.len().min(64)),
            _ => random.below(bytes.len()),
        };
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xfe, 0xff][random.below(6)],
            3 => {
                let word = [0u32, 1, 4, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0xffff_ffff][random.below(8)];
                for (byte, new) in bytes[at..].iter_mut().zip(word.to_le_bytes()) {
                    *byte = new;
                }
            }
            4 => bytes.truncate(at),
            5 => drop(bytes.remove(at)),
            6 => bytes.insert(at, random.next() as u8),
            _ => {
                let to = random.below(bytes.len());
                let end = at + random.below(bytes.len() - at).min(64);
                let piece = bytes[at..end].to_vec();
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// OpenSSL, in a directory of its own, with the test keys and a certificate
/// for each.
pub struct OpenSsl {
    pub dir: tempfile::TempDir,
    program: PathBuf,
}

impl OpenSsl {
    pub fn new(keys: &[&str]) -> OpenSsl {
        OpenSsl::of("openssl".into(), keys)
    }

    /// One of 3.5 or later, which knows ML-DSA, and Ed25519 in CMS: what set-up
    /// has unpacked where the system's is older.
    pub fn newest(keys: &[&str]) -> OpenSsl {
        let unpacked = venv().join("bin/openssl35");
        let this = OpenSsl::of(if unpacked.exists() { unpacked } else { "openssl".into() }, &[]);
        let known = String::from_utf8(this.run("list -signature-algorithms").stdout).unwrap();
        let version = String::from_utf8(this.run("version").stdout).unwrap();
        assert!(known.contains("ML-DSA-65"), "{version} knows no ML-DSA: run `cargo xtask setup`");
        OpenSsl::of(this.program, keys)
    }

    fn of(program: PathBuf, keys: &[&str]) -> OpenSsl {
        let this = OpenSsl { dir: tempfile::tempdir().unwrap(), program };
        for key in keys {
            this.write(&format!("{key}.p8"), &private_der(key));
            this.ok(&format!("pkey -inform DER -in {key}.p8 -out {key}.pem"));
            this.ok(&format!("pkey -in {key}.pem -pubout -out {key}.pub.pem"));
            this.ok(&format!(
                "req -x509 -new -key {key}.pem -subj /CN={key} -days 30 -out {key}.crt \
                 -addext extendedKeyUsage=codeSigning,emailProtection"
            ));
        }
        this
    }

    pub fn run(&self, line: &str) -> std::process::Output {
        let words = line.split_whitespace();
        let out = std::process::Command::new(&self.program).args(words).current_dir(self.dir.path()).output();
        out.expect("openssl is installed")
    }

    pub fn ok(&self, line: &str) {
        let out = self.run(line);
        assert!(out.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&out.stderr));
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.path().join(name)).unwrap()
    }

    pub fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }
}

/// Prepares in a format, signs, and writes what comes of it, read back.
pub fn make(
    format: &str,
    source: &dyn Source,
    key: &TestKey,
    parameters: &[(&str, &str)],
) -> Result<Vec<u8>, FormatError> {
    let parameters: Parameters = parameters.iter().copied().collect();
    let version = semver::Version::new(1, 0, 0);
    let wanted = Wanted { version, epoch: 0, key: &key.public, parameters: &parameters };
    let format = firmseal_formats::find(format)?;
    let laid_out = firmseal_formats::lay_out(format, source, &wanted)?;
    let again = firmseal_formats::lay_out(format, source, &wanted)?;
    assert_eq!(laid_out.tbs, again.tbs, "the same wish gives the same bytes");
    let signature = key.sign(&laid_out.tbs);
    let plan = firmseal_formats::attach(format, &laid_out.unsigned.unwrap(), source, &signature)?;
    let mut out = Vec::new();
    plan.write_to(source, &mut out)?;
    Ok(out)
}
