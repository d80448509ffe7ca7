//! Known development keys: their private halves are published.
//!
//! In 2024 some 900 models of computers turned out to trust a platform key
//! that said "do not trust" in its name (PKfail); products ship with
//! MCUboot's sample key to this day. A production root, signer or import
//! asks here first and refuses by name. Only thumbprints are kept (RFC
//! 9679); the list catches carelessness, not malice.

use firmseal_manifest::PublicKey;

/// Thumbprint and where the key is published.
const DEVELOPMENT_KEYS: &[(&str, &str)] = &[
    ("310902df09f42ec7ccb4df097feafeb9dacefe5c8533294f9eca7d02406bb975", "MCUboot root-rsa-2048.pem"),
    ("11d8d3b08748ae151ce40e170d445732ec81ce741b01186da34d1d1fd35648d7", "MCUboot root-rsa-3072.pem"),
    ("7e60053d1bdd374a71d12ab3b00ec4b0833d21558b128908a0d993d5c70da3ea", "MCUboot root-ec-p256.pem"),
    ("d775ee3931d4e8a21c82633f0a7e5731fd5a53fee923bf72b95ca5819dab0a8a", "MCUboot root-ed25519.pem"),
    ("742b328b7f2813405ca178aab69ccbce9703ec88952dc09fb46880349290c180", "MCUboot root-ec-p384.pem"),
    ("8f7f37a36c4c271e89c9e0d02e4a145455be3c43f3a3b4b9087541628606c6a5", "MCUboot root-ed25519-unknown.pem"),
    (
        "0754d8680c7529c46be8f82161a508323dc9b66db2621dad7e018fd04a465546",
        "MCUboot simulator ed25519_pub_key_2",
    ),
    ("07acbc8e49a78570eb6903b3f40e6d63edd0b40177caf46a9d1220558eb734b9", "MCUboot cypress-test-ec-p256.pem"),
    (
        "e22f60cfbf47c8dbd5f65aee0a92c37eb1c17ee0d5ae45301d5f8b70213b90f1",
        "Trusted Firmware-A arm_rotprivk_ecdsa.pem",
    ),
    (
        "6dbec29ee75921f2d5afceeae9fb33e334eb97002079029fc0352e464fd89507",
        "Trusted Firmware-A arm_rotprivk_rsa.pem",
    ),
    ("ecc5002fb7599f9b52894cec7f389fdf141d171e980fa3f058de764e4421eeb9", "OP-TEE keys/default.pem"),
    ("c7213dcb812164013b3e5348c4a4f814ec7dab78e04d5b8cd3fb608e6c4aff8b", "EDK II TestSigningPrivateKey.pem"),
    ("b6468efad482daf7f6a85b12ff5db963242721a5dd0fb87f9c917ba5d762b98a", "RFC 9500 testRSA2048"),
    ("28f88b756ce29d7c38f2b842492abb2430021500af40532a512561acea0f610f", "RFC 9500 testECCP256"),
    (
        "ca9e35f23b2b525fb4fc83f512b0dcac4ac29e457e873a5d6a7313f71690b33c",
        "draft-ietf-suit-manifest example key",
    ),
    ("3d1ced3981af57b5ab099a664b370612e1d291e0dd31842f2700ce92f0ec59f7", "OVMF PkKek-1-snakeoil.pem"),
    ("866eefbd6718c8846cd7ddfe43fc74ab1daac4538ff8514ea2ec2d410a415743", "RFC 8032 section 7.1, test 1"),
    ("5c840f7a40230170abdee5151a594efdf270f7a89825f5c310badf6b589c5c59", "RFC 8032 section 7.1, test 2"),
    ("51d53691575b17e32587f41e5b9c85feeec5cccd5c0826be4abd2dfe7d33a6ee", "RFC 8032 section 7.1, test 3"),
    ("750ca40795ab23e51a75dc76fa12c052f6f6c57ba8a732337b91f096592b6ef6", "RFC 6979 A.2.5"),
    ("a876460dc02fb84b5882306e6eb8d31264a31fed5cffb655169eb9abf1cef1cc", "RFC 6979 A.2.6"),
];

/// The published name of a key that everybody can sign with, if it is one
/// that we know.
pub fn development_key(key: &PublicKey) -> Option<&'static str> {
    let id = key.id().to_string();
    DEVELOPMENT_KEYS.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    use firmseal_manifest::KeyAlgorithm;
    use firmseal_manifest::ids::parse_digest;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn every_row_is_a_thumbprint_of_its_own() {
        let rows: HashSet<_> = DEVELOPMENT_KEYS.iter().map(|(id, _)| *id).collect();
        assert_eq!(rows.len(), DEVELOPMENT_KEYS.len());
        assert!(rows.iter().all(|id| parse_digest(id).is_some()));
    }

    #[test]
    fn published_keys_are_called_by_their_names() {
        // RFC 8032 §7.1, test 1; MCUboot's sample on P-256.
        let rfc = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let rfc = PublicKey::from_ed25519(rfc.try_into().unwrap()).unwrap();
        assert_eq!(development_key(&rfc), Some("RFC 8032 section 7.1, test 1"));
        let mcuboot = bytes(
            "042acb403ce8feed5ba44995a1a91daee8dbbe1937cd14fb2f245737e5953988d9\
             94b9d65aebd7cdd5308ad6fe48b24a6a810ee5f07d8b6834cc3a6afc538efac1",
        );
        let mcuboot = PublicKey::from_point(KeyAlgorithm::P256, &mcuboot).unwrap();
        assert_eq!(development_key(&mcuboot), Some("MCUboot root-ec-p256.pem"));
        assert_eq!(development_key(&PublicKey::from_ed25519([7; 32]).unwrap()), None);
    }
}
