//! What a scene's device is told beside envelopes: revocations, and the
//! channel that it takes.

use firmseal_manifest::{Digest, KeyId};
use firmseal_trust::{Holder, RevocationSpec, RevokedKey, Role, RoleSpec};

use super::scene::Scene;
use crate::item;
use crate::keys::TestKey;
use crate::story::{self, ORIGIN, approver};

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

/// A release on the channel `nightly`, which ned may approve alone, and a
/// device that takes some channel.
pub(super) fn nightly(scene: &mut Scene, takes: Option<&str>, approvers: Vec<usize>) {
    scene.release(|release| release.channel = "nightly".parse().unwrap());
    scene.tell(|story| story.approvers = approvers);
    scene.device.knows.channel = takes.map(str::to_owned);
    let holders = vec![Holder { name: "ned".to_owned(), keys: vec![approver(NED).public().clone()] }];
    let channels = vec!["nightly".parse().unwrap()];
    let role = Role::Approver;
    scene.world.root.roles.push(RoleSpec {
        role,
        threshold: 1,
        holders,
        products: vec![],
        channels,
        both_kinds: false,
    });
}

/// The place of ned's key.
pub(super) const NED: usize = 7;
