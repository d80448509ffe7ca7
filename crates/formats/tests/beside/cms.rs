//! CMS beside a file.
//!
//! cryptography has no verifier of CMS: asn1crypto reads it for Python, and
//! cryptography verifies what is signed. It makes CMS with RSA and ECDSA.

use firmseal_formats::{Covered, find};
use firmseal_keys::verify::verify;
use firmseal_manifest::PublicKey;
use serde_json::json;

use crate::common::{OpenSsl, TestKey, make};
use crate::judge::{self, CELLS, Case, FIRMWARE, Judges, around, count, theirs, unhex};

/// Signs where there is no signature, and verifies where there is one: by the
/// certificate of the key that is asked for, in the algorithms that are.
const PYTHON: &str = r#"
import hashlib, json
from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

def pad(case, key):
    sha256 = hashes.SHA256()
    longest = key.key_size // 8 - 34
    return {"pkcs1": padding.PKCS1v15(), "pss": padding.PSS(padding.MGF1(sha256), 32),
            "pss-max": padding.PSS(padding.MGF1(sha256), longest)}[case["padding"]]

def wanted(case, key):
    if isinstance(key, rsa.RSAPublicKey):
        pss = {"hash_algorithm": {"algorithm": "sha256", "parameters": None},
               "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256", "parameters": None}},
               "trailer_field": "trailer_field_bc"}
        told = {"pkcs1": ("rsassa_pkcs1v15", None), "pss": ("rsassa_pss", {**pss, "salt_length": 32}),
                "pss-max": ("rsassa_pss", {**pss, "salt_length": key.key_size // 8 - 34})}[case["padding"]]
        return "sha256", told, [pad(case, key), hashes.SHA256()]
    if isinstance(key, ec.EllipticCurvePublicKey):
        name, own = ("sha384", hashes.SHA384()) if key.curve.key_size == 384 else ("sha256", hashes.SHA256())
        return name, (name + "_ecdsa", None), [ec.ECDSA(own)]
    oids = {"ed25519": "ed25519", "ml-dsa-44": "2.16.840.1.101.3.4.3.17", "ml-dsa-65": "2.16.840.1.101.3.4.3.18",
            "ml-dsa-87": "2.16.840.1.101.3.4.3.19"}
    return "sha512", (oids[case["key"].removeprefix("other-")], None), []

def takes(case):
    pem = open(case["key"] + ".crt", "rb").read()
    certificate = x509.load_pem_x509_certificate(pem)
    hash_name, (algorithm, parameters), how = wanted(case, certificate.public_key())
    outer = cms.ContentInfo.load(bytes.fromhex(case["signature"]), strict=True)
    signed = outer["content"]
    [own] = signed["certificates"]
    [signer] = signed["signer_infos"]
    told = signer["signature_algorithm"].native
    if told["algorithm"] == "rsassa_pkcs1v15" or told["algorithm"] == "sha256_rsa":
        told["algorithm"] = "rsassa_pkcs1v15"
    attributes = {}
    for attribute in signer["signed_attrs"]:
        [value] = attribute["values"]
        assert attribute["type"].native not in attributes
        attributes[attribute["type"].native] = value.native
    digest = hashlib.new(hash_name, bytes.fromhex(case["file"])).digest()
    said = [outer["content_type"].native, signed["encap_content_info"]["content_type"].native,
            own.chosen.dump(), signer["digest_algorithm"]["algorithm"].native, told["algorithm"],
            told["parameters"] and dict(told["parameters"]), attributes["content_type"], attributes["message_digest"]]
    good = ["signed_data", "data", certificate.public_bytes(serialization.Encoding.DER), hash_name, algorithm,
            parameters, "data", digest]
    if said != good:
        return False
    certificate.public_key().verify(signer["signature"].native, signer["signed_attrs"].untag().dump(), *how)
    return True

for line in open("cases"):
    case = json.loads(line)
    if "signature" in case:
        try:
            print("good" if takes(case) else "bad")
        except (AssertionError, InvalidSignature, KeyError, TypeError, ValueError) as error:
            print("bad", repr(error).replace("\n", " "))
        continue
    key = serialization.load_der_private_key(open(case["key"] + ".p8", "rb").read(), None)
    certificate = x509.load_pem_x509_certificate(open(case["key"] + ".crt", "rb").read())
    padded = pad(case, key) if isinstance(key, rsa.RSAPrivateKey) else None
    own = hashes.SHA384() if case["key"] == "p384" else hashes.SHA256()
    builder = pkcs7.PKCS7SignatureBuilder().set_data(bytes.fromhex(case["file"]))
    builder = builder.add_signer(certificate, key, own, rsa_padding=padded)
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    print(builder.sign(serialization.Encoding.DER, options).hex())
"#;

/// Python's makes no CMS with these.
fn is_pure(key: &str) -> bool {
    key == "ed25519" || key.starts_with("ml-dsa")
}

fn we_take(case: &Case, key: &PublicKey) -> bool {
    let read = find("cms").unwrap().beside().unwrap().read(&case.signature, &case.file);
    read.is_ok_and(|read| {
        read.signatures.iter().any(|own| {
            let Covered::Tbs(tbs) = &own.covered else { return false };
            own.algorithm == key.algorithm()
                && own.claim.admits(key)
                && verify(key, tbs, &own.signature).is_ok()
        })
    })
}

fn openssl_takes(openssl: &OpenSsl, case: &Case) -> bool {
    openssl.write("verify.cms", &case.signature);
    openssl.write("verify.bin", &case.file);
    let line = format!(
        "cms -verify -binary -inform DER -in verify.cms -content verify.bin -CAfile {}.crt -purpose any \
         -out /dev/null",
        case.key
    );
    openssl.run(&line).status.success()
}

fn openssl_signs(openssl: &OpenSsl, key: &str, padding: &str) -> Vec<u8> {
    openssl.write("file", FIRMWARE);
    let hash = match key {
        "p384" => "sha384",
        _ if is_pure(key) => "sha512",
        _ => "sha256",
    };
    let padding = judge::padding("-keyopt", padding);
    openssl.ok(&format!(
        "cms -sign -binary -in file -signer {key}.crt -inkey {key}.pem -md {hash} {padding} -outform DER -out made"
    ));
    openssl.read("made")
}

#[test]
fn openssl_and_python_judge_every_key_and_padding() {
    let judges = Judges::new();
    let openssl = &judges.openssl;
    let pythons: Vec<_> = CELLS.into_iter().filter(|(key, _)| !is_pure(key)).collect();
    let asked: Vec<_> = pythons
        .iter()
        .map(|(key, padding)| json!({ "key": key, "padding": padding, "file": judge::hex(FIRMWARE) }))
        .collect();
    let mut cases = Vec::new();
    for ((name, padding), python) in pythons.into_iter().zip(judges.python(PYTHON, &asked)) {
        cases.extend(theirs(name, padding, &unhex(&python), "python"));
    }
    for (name, padding) in CELLS {
        cases.extend(theirs(name, padding, &openssl_signs(openssl, name, padding), "openssl"));
        let certificate = openssl.text(&format!("{name}.crt"));
        let mut wish = vec![("certificate", certificate.as_str())];
        wish.extend((!padding.is_empty()).then_some(("padding", padding)));
        let ours = make("cms", &FIRMWARE.to_vec(), &TestKey::load(name), &wish).unwrap();
        let mut own = around(name, padding, &ours, "us");
        // Bits all over it, a few in the ordinary run.
        let step = if count() > 20 { 1 } else { ours.len() / 40 };
        for at in (0..ours.len()).step_by(step) {
            let mut signature = ours.clone();
            signature[at] ^= 1 << (at % 8);
            let (key, file, what) = (name.to_owned(), FIRMWARE.to_vec(), format!("{name}: byte {at}"));
            own.push(Case { key, padding, file, signature, good: None, what });
        }
        // The certificate says which key signed, and is not what is believed
        // here: the others are asked about everything else.
        let believed = outside(openssl, name, &ours);
        own.retain(|case| case.good.is_some() || believed(&case.signature));
        cases.extend(own);
    }
    judges.agree(&cases, PYTHON, we_take, |case| openssl_takes(openssl, case));
}

/// Whether more is changed of a signature's file than the certificate in it.
fn outside<'a>(openssl: &OpenSsl, name: &str, good: &'a [u8]) -> impl Fn(&[u8]) -> bool + 'a {
    openssl.ok(&format!("x509 -in {name}.crt -outform DER -out own.der"));
    let own = openssl.read("own.der");
    let start = good.windows(own.len()).position(|window| window == own).unwrap();
    let behind = start + own.len();
    move |bytes| !(bytes.starts_with(&good[..start]) && bytes[start..].ends_with(&good[behind..]))
}
