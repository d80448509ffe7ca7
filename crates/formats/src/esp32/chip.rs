//! Chips, and which keys their boot ROM verifies with (ESP-IDF, "Secure Boot
//! v2", for each of them).

use firmseal_manifest::KeyAlgorithm;

/// A chip by the number that images name it with (esp_chip_id_t).
struct Chip {
    id: u16,
    name: &'static str,
    keys: Keys,
}

#[derive(Clone, Copy)]
enum Keys {
    Rsa,
    Ecdsa,
    /// Either, or it is not known here.
    Any,
}

const fn chip(id: u16, name: &'static str, keys: Keys) -> Chip {
    Chip { id, name, keys }
}

const CHIPS: &[Chip] = &[
    chip(0, "esp32", Keys::Rsa),
    chip(2, "esp32s2", Keys::Rsa),
    chip(5, "esp32c3", Keys::Rsa),
    chip(9, "esp32s3", Keys::Rsa),
    chip(12, "esp32c2", Keys::Ecdsa),
    chip(13, "esp32c6", Keys::Any),
    chip(16, "esp32h2", Keys::Any),
    chip(18, "esp32p4", Keys::Any),
    chip(20, "esp32c61", Keys::Any),
    chip(23, "esp32c5", Keys::Any),
    chip(25, "esp32h21", Keys::Any),
    chip(28, "esp32h4", Keys::Any),
    chip(31, "esp32e22", Keys::Any),
    chip(32, "esp32s31", Keys::Any),
];

fn find(id: u16) -> Option<&'static Chip> {
    CHIPS.iter().find(|chip| chip.id == id)
}

/// The name of a chip, as esptool has it.
pub(super) fn name(id: u16) -> String {
    find(id).map_or_else(|| format!("chip {id}"), |chip| chip.name.to_owned())
}

/// What a chip verifies with, if that is not this key.
pub(super) fn refuses(id: u16, algorithm: KeyAlgorithm) -> Option<&'static str> {
    match (find(id).map(|chip| chip.keys), algorithm) {
        (Some(Keys::Rsa), KeyAlgorithm::P256 | KeyAlgorithm::P384) => Some("an RSA-3072 key"),
        (Some(Keys::Ecdsa), KeyAlgorithm::Rsa(_) | KeyAlgorithm::P384) => Some("a P-256 key"),
        _ => None,
    }
}

/// Most signature blocks that a chip looks at: "For ESP32-ECO3 only 1 signature
/// block is supported" (espsecure).
pub(super) fn blocks_max(id: u16) -> usize {
    if id == 0 { 1 } else { super::sector::BLOCKS_MAX }
}
