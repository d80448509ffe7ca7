//! Who is asked, and about what.

use std::collections::BTreeMap;
use std::process::Command;

use firmseal_manifest::PublicKey;
use serde_json::{Value, json};

use crate::common::{OpenSsl, Random, TestKey, mutate, venv};

pub(crate) const FIRMWARE: &[u8] = b"firmware of the gateway, 1.2.3";

/// Keys, and how RSA keys pad. The longest salts are of keys that we make, of
/// 3072 bits and more.
pub(crate) const CELLS: [(&str, &str); 11] = [
    ("rsa2048", "pss"),
    ("rsa2048", "pkcs1"),
    ("rsa3072", "pss"),
    ("rsa3072", "pss-max"),
    ("rsa3072", "pkcs1"),
    ("p256", ""),
    ("p384", ""),
    ("ed25519", ""),
    ("ml-dsa-44", ""),
    ("ml-dsa-65", ""),
    ("ml-dsa-87", ""),
];

/// All who are asked: OpenSSL with all keys and a stranger's of each, and we.
pub(crate) struct Judges {
    pub(crate) openssl: OpenSsl,
    pub(crate) keys: BTreeMap<String, PublicKey>,
}

impl Judges {
    pub(crate) fn new() -> Judges {
        let own = CELLS.iter().map(|(key, _)| *key);
        let names = own.flat_map(|key| [key.to_owned(), format!("other-{key}")]);
        let keys: BTreeMap<_, _> = names.map(|name| (name.clone(), TestKey::load(&name).public)).collect();
        let openssl = OpenSsl::newest(&keys.keys().map(String::as_str).collect::<Vec<_>>());
        Judges { openssl, keys }
    }

    /// Compares what all say of each case. Of mutations the others are asked
    /// where we take one.
    pub(crate) fn agree(
        &self,
        cases: &[Case],
        script: &str,
        we_take: impl Fn(&Case, &PublicKey) -> bool,
        openssl_takes: impl Fn(&Case) -> bool,
    ) {
        let ours = cases.iter().map(|case| (case, we_take(case, &self.keys[&case.key])));
        let asked: Vec<_> = ours.filter(|(case, ours)| *ours || case.good.is_some()).collect();
        let lines: Vec<_> = asked.iter().map(|(case, _)| case.line()).collect();
        for ((case, ours), python) in asked.into_iter().zip(self.python(script, &lines)) {
            let (good, what) = (case.good.unwrap_or(true), &case.what);
            let all = (ours, openssl_takes(case), python == "good");
            assert_eq!(all, (good, good, good), "{what}: {python}");
        }
    }

    /// What a script prints of each case.
    pub(crate) fn python(&self, script: &str, cases: &[Value]) -> Vec<String> {
        let lines: Vec<String> = cases.iter().map(Value::to_string).collect();
        self.openssl.write("cases", lines.join("\n").as_bytes());
        let out = Command::new(venv().join("bin/python"))
            .args(["-c", script])
            .current_dir(self.openssl.dir.path())
            .output()
            .expect("there is a Python environment: run `cargo xtask setup`");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let said: Vec<String> = String::from_utf8(out.stdout).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(said.len(), cases.len());
        said
    }
}

/// How OpenSSL names a padding.
pub(crate) fn padding(option: &str, padding: &str) -> String {
    match padding {
        "pss" => format!("{option} rsa_padding_mode:pss {option} rsa_pss_saltlen:32"),
        "pss-max" => format!("{option} rsa_padding_mode:pss {option} rsa_pss_saltlen:max"),
        _ => String::new(),
    }
}

/// Something to be judged.
pub(crate) struct Case {
    /// Whose signature it should be.
    pub(crate) key: String,
    pub(crate) padding: &'static str,
    pub(crate) file: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    /// What everybody has to say, where that is known.
    pub(crate) good: Option<bool>,
    pub(crate) what: String,
}

impl Case {
    /// As Python reads it.
    pub(crate) fn line(&self) -> Value {
        json!({ "key": self.key, "padding": self.padding, "file": hex(&self.file), "signature": hex(&self.signature) })
    }
}

/// A signature that is good, what must not be, and mutations.
pub(crate) fn around(key: &str, padding: &'static str, signature: &[u8], by: &str) -> Vec<Case> {
    let case = |key: &str, file: &[u8], signature: &[u8], good, what: &str| Case {
        key: key.to_owned(),
        padding,
        file: file.to_vec(),
        signature: signature.to_vec(),
        good,
        what: format!("{key} {padding} by {by}: {what}"),
    };
    let mut spoilt = signature.to_vec();
    *spoilt.last_mut().unwrap() ^= 1;
    let other = format!("other-{key}");
    let mut all = vec![
        case(key, FIRMWARE, signature, Some(true), "good"),
        case(key, b"firmware of the gateway, 1.2.4", signature, Some(false), "another file"),
        case(key, &FIRMWARE[1..], signature, Some(false), "a shorter file"),
        case(&other, FIRMWARE, signature, Some(false), "a foreign key"),
        case(key, FIRMWARE, &spoilt, Some(false), "a spoilt signature"),
        case(key, FIRMWARE, &signature[..signature.len() - 1], Some(false), "a signature cut short"),
        case(key, FIRMWARE, &[], Some(false), "no signature"),
    ];
    for seed in 0..count() {
        let (mut file, mut value) = (FIRMWARE.to_vec(), signature.to_vec());
        // The file every fourth time.
        mutate(if seed % 4 == 3 { &mut file } else { &mut value }, &mut Random(seed));
        all.push(case(key, &file, &value, None, &format!("mutation {seed}")));
    }
    all
}

/// The same of a signature of somebody else's, which is of the same kind.
pub(crate) fn theirs(key: &str, padding: &'static str, signature: &[u8], by: &str) -> Vec<Case> {
    around(key, padding, signature, by).into_iter().take(4).collect()
}

pub(crate) fn count() -> u64 {
    std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
