//! Signatures that are nothing but themselves. Ed25519 and ML-DSA sign the 32
//! bytes of the file's SHA-256.

use firmseal_formats::{Parameters, Wanted, find, lay_out};
use firmseal_keys::verify::verify;
use firmseal_manifest::{KeyAlgorithm, PublicKey, Signature, Tbs, ecdsa};
use serde_json::json;

use crate::common::{OpenSsl, TestKey};
use crate::judge::{self, CELLS, Case, FIRMWARE, Judges, around, theirs, unhex};

/// Signs where there is no signature, and verifies where there is one. Told
/// `MAX_LENGTH`, cryptography 50 signs with the longest salt and verifies with
/// any, so that a signature is verified with the number of its bytes.
const PYTHON: &str = r#"
import hashlib, json
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
sha256 = hashes.SHA256()
paddings = {"pkcs1": padding.PKCS1v15(), "pss": padding.PSS(padding.MGF1(sha256), 32),
            "pss-max": padding.PSS(padding.MGF1(sha256), padding.PSS.MAX_LENGTH)}
keys = {}
for line in open("cases"):
    case = json.loads(line)
    name = case["key"]
    if name not in keys:
        private = serialization.load_der_private_key(open(name + ".p8", "rb").read(), None)
        keys[name] = private, serialization.load_pem_public_key(open(name + ".pub.pem", "rb").read())
    private, public = keys[name]
    message, how = bytes.fromhex(case["file"]), []
    if isinstance(public, rsa.RSAPublicKey):
        how = [paddings[case["padding"]], sha256]
        if "signature" in case and case["padding"] == "pss-max":
            how[0] = padding.PSS(padding.MGF1(sha256), public.key_size // 8 - 34)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        how = [ec.ECDSA(hashes.SHA384() if public.curve.key_size == 384 else sha256)]
    else:
        message = hashlib.sha256(message).digest()
    if "signature" not in case:
        print(private.sign(message, *how).hex())
        continue
    try:
        public.verify(bytes.fromhex(case["signature"]), message, *how)
        print("good")
    except InvalidSignature:
        print("bad")
"#;

fn tbs(key: &PublicKey, padding: &str, file: &[u8]) -> Option<Tbs> {
    let wish = (!padding.is_empty()).then_some(("padding", padding));
    let parameters: Parameters = wish.into_iter().collect();
    let version = semver::Version::new(1, 0, 0);
    let wanted = Wanted { version, epoch: 0, key, parameters: &parameters };
    lay_out(find("raw").unwrap(), &file.to_vec(), &wanted).ok().map(|laid_out| laid_out.tbs)
}

/// As tools hold it, and back.
fn to_tools(key: &TestKey, signature: Signature) -> Vec<u8> {
    match key.public.algorithm() {
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => ecdsa::to_der(&signature.0).unwrap(),
        _ => signature.0,
    }
}

fn we_take(case: &Case, key: &PublicKey) -> bool {
    let value = match key.algorithm() {
        KeyAlgorithm::P256 => ecdsa::from_der(&case.signature, 32),
        KeyAlgorithm::P384 => ecdsa::from_der(&case.signature, 48),
        _ => Some(case.signature.clone()),
    };
    let (Some(value), Some(tbs)) = (value, tbs(key, case.padding, &case.file)) else { return false };
    verify(key, &tbs, &Signature(value)).is_ok()
}

/// The hash that its keys sign with; `None` for those that sign a message.
fn hash(key: &str) -> Option<&'static str> {
    match key.trim_start_matches("other-") {
        "p384" => Some("-sha384"),
        "p256" | "rsa2048" | "rsa3072" => Some("-sha256"),
        _ => None,
    }
}

/// What a newcomer types (docs/how-to/sign-artifacts.md).
fn openssl_takes(openssl: &OpenSsl, case: &Case) -> bool {
    openssl.write("file", &case.file);
    openssl.write("signature", &case.signature);
    let key = &case.key;
    let line = match hash(key) {
        Some(hash) => {
            let padding = judge::padding("-sigopt", case.padding);
            format!("dgst {hash} -verify {key}.pub.pem {padding} -signature signature file")
        }
        None => {
            openssl.ok("dgst -sha256 -binary -out file.sha256 file");
            format!("pkeyutl -verify -pubin -inkey {key}.pub.pem -rawin -in file.sha256 -sigfile signature")
        }
    };
    openssl.run(&line).status.success()
}

fn openssl_signs(openssl: &OpenSsl, key: &str, padding: &str) -> Vec<u8> {
    openssl.write("file", FIRMWARE);
    match hash(key) {
        Some(hash) => {
            let padding = judge::padding("-sigopt", padding);
            openssl.ok(&format!("dgst {hash} -sign {key}.pem {padding} -out made file"));
        }
        None => {
            openssl.ok("dgst -sha256 -binary -out file.sha256 file");
            openssl.ok(&format!("pkeyutl -sign -inkey {key}.pem -rawin -in file.sha256 -out made"));
        }
    }
    openssl.read("made")
}

#[test]
fn openssl_and_python_judge_every_key_and_padding() {
    let judges = Judges::new();
    let openssl = &judges.openssl;
    let asked =
        CELLS.map(|(key, padding)| json!({ "key": key, "padding": padding, "file": judge::hex(FIRMWARE) }));
    let mut cases = Vec::new();
    for ((name, padding), python) in CELLS.into_iter().zip(judges.python(PYTHON, &asked)) {
        let key = TestKey::load(name);
        let ours = to_tools(&key, key.sign(&tbs(&key.public, padding, FIRMWARE).unwrap()));
        cases.extend(around(name, padding, &ours, "us"));
        cases.extend(theirs(name, padding, &openssl_signs(openssl, name, padding), "openssl"));
        cases.extend(theirs(name, padding, &unhex(&python), "python"));
        // In another padding it is none.
        for (_, other) in CELLS.into_iter().filter(|(own, other)| *own == name && *other != padding) {
            let what = format!("{name}: {padding} as {other}");
            let (key, file, signature) = (name.to_owned(), FIRMWARE.to_vec(), ours.clone());
            cases.push(Case { key, padding: other, file, signature, good: Some(false), what });
        }
    }
    judges.agree(&cases, PYTHON, we_take, |case| openssl_takes(openssl, case));
}
