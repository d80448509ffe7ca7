//! What a scene's device is told beside envelopes: revocations.

use firmseal_manifest::{Digest, KeyId};
use firmseal_trust::{RevocationSpec, RevokedKey};

use super::scene::Scene;
use crate::item;
use crate::keys::TestKey;
use crate::story::{self, ORIGIN};

/// What a key is revoked with: all it signed but what the story's log holds
/// up to the last good index, and these releases.
pub(super) fn key(key: KeyId, last_good: Option<u64>, allowed: &[Digest]) -> RevokedKey {
    let last_good = last_good.map(|index| (ORIGIN.to_owned(), index)).into_iter().collect();
    RevokedKey { key, last_good, allowed: allowed.to_vec() }
}

/// A revocation document that the device was told.
pub(super) fn revoke(scene: &mut Scene, keys: Vec<RevokedKey>, releases: Vec<Digest>) {
    revoke_by(scene, keys, releases, &story::revoker());
}

/// The same, whoever signed it.
pub(super) fn revoke_by(scene: &mut Scene, keys: Vec<RevokedKey>, releases: Vec<Digest>, signer: &TestKey) {
    let (lineage, environment) = (scene.world.root.lineage, scene.world.root.environment);
    let spec = RevocationSpec { version: 4, lineage, environment, keys, releases };
    scene.device.knows.revocation = Some(sealed(&spec, signer));
}

/// The document, whether or not a device would take it.
pub(super) fn sealed(spec: &RevocationSpec, signer: &TestKey) -> Vec<u8> {
    let unsigned = spec.assemble();
    let signature = signer.sign(&unsigned.to_be_signed(signer.public()).unwrap());
    let block = firmseal_manifest::sign1::encode(signer.public(), &signature).unwrap();
    item::array(&[item::bytes(unsigned.body()), item::array(&[item::bytes(&block)])])
}
