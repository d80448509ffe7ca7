//! People with keys of their own, and the root document that names them.

use std::process::{Command, Stdio};

use base64ct::{Base64, Encoding};
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Demands, Role, Root};
use firmseal_keys::{FileKey, Logged, Secret, Signer};
use firmseal_manifest::{Intent, PublicKey, Purpose};
use firmseal_store_local::IntentLog;
use firmseal_trust::{DemandsSpec, Holder, RoleSpec, RootSpec};
use serde_json::Value;

use super::Place;

/// What opens the keys of a place.
pub(crate) fn secret(place: &Place) -> Secret {
    Secret::new(place.read("place/keys/passphrase").trim_ascii().to_vec())
}

/// A key that OpenSSH made.
pub(crate) fn ssh_key(place: &Place, name: &str) -> PublicKey {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(place.path(name))
        .stdin(Stdio::null())
        .status();
    assert!(made.expect("ssh-keygen runs").success());
    let line = String::from_utf8(place.read(&format!("{name}.pub"))).unwrap();
    let blob = Base64::decode_vec(line.split_whitespace().nth(1).unwrap()).unwrap();
    PublicKey::from_ed25519(blob[blob.len() - 32..].try_into().unwrap()).unwrap()
}

/// Root document 2 names approvers. With a demand, releases need so many of
/// them.
pub(crate) async fn name_approvers(place: &Place, holders: Vec<(&str, PublicKey)>, demand: Option<u64>) {
    let document = place.read("place/trust/root.cbor");
    let mut spec = RootSpec { version: 2, ..RootSpec::of(&Root::decode(&document).unwrap()).unwrap() };
    let holders = holders.into_iter().map(|(name, key)| Holder { name: name.into(), keys: vec![key] });
    spec.roles.push(RoleSpec {
        role: Role::Approver,
        threshold: demand.unwrap_or(1),
        holders: holders.collect(),
        products: vec![],
        channels: vec![],
        both_kinds: false,
    });
    if demand.is_some() {
        let demands = Demands { approvals: true, ..DemandsSpec::NOTHING.demands };
        spec.demands = vec![DemandsSpec { demands, products: vec![] }];
    }
    write_root(place, &document, &spec).await;
    assert_eq!(place.json("root publish root-2.cbor")["version"], 2);
}

/// Has the root key of a place sign the document that follows, into
/// `root-2.cbor`.
pub(crate) async fn write_root(place: &Place, before: &[u8], spec: &RootSpec) {
    let unsigned = spec.assemble().unwrap();
    let key = FileKey::open(&place.path("place/keys/root.pem"), &secret(place)).unwrap();
    let intent = Intent {
        purpose: Purpose::Root,
        subject: unsigned.digest(),
        keys: vec![key.public_key().id()],
        delegation: None,
        statements: vec![],
        requester: unsigned.digest(),
        policy: unsigned.digest(),
        context: vec![],
    };
    let log = IntentLog::open(&place.path("root.log")).unwrap();
    let logged = Logged::append(&log, intent).await.unwrap();
    let signature = key.sign(logged, unsigned.to_be_signed(key.public_key()).unwrap()).await.unwrap();
    let sealed = unsigned.seal_after(before, &[(key.public_key(), signature)]).unwrap();
    assert!(Root::decode(before).unwrap().successor(&sealed, &RustCrypto).is_ok());
    place.write("root-2.cbor", &sealed);
}

/// A text in an answer.
pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}
