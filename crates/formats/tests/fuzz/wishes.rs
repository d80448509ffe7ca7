//! What each format is asked for. A new format adds a row, or two where what it
//! takes depends on the file; one that signs nothing adds none.

use std::sync::LazyLock;

use firmseal_formats::Parameters;
use firmseal_manifest::PublicKey;

/// One wish.
pub struct Wish {
    /// The format's name.
    pub format: &'static str,
    /// The key that would sign.
    pub key: PublicKey,
    /// What the format wants to know.
    pub parameters: Parameters,
    /// The file that a signature beside it is over: a good one, since it is the
    /// signature that is mutated.
    pub over: &'static [u8],
}

type Row = (&'static str, fn() -> PublicKey, &'static [(&'static str, &'static str)], &'static [u8]);

const ROWS: &[Row] = &[
    ("mcuboot", ed25519, &[("header-size", "64"), ("slot-size", "0x100000")], INSIDE),
    ("mcuboot", ed25519, &[("header-size", "64"), ("slot-size", "0x100000"), RECIPIENT], INSIDE),
    ("pe", p256, &[CERTIFICATE], INSIDE),
    ("capsule", p256, &[CERTIFICATE, ("guid", "09d7cf52-0720-4710-91d1-08469b7fe9c8")], INSIDE),
    ("fit", p256, &[], INSIDE),
    ("rauc", p256, &[CERTIFICATE], INSIDE),
    ("swupdate", p256, &[CERTIFICATE], INSIDE),
    ("suit", p256, &[("existing", "replace")], INSIDE),
    ("mender", p256, &[], INSIDE),
    ("kmod", p256, &[CERTIFICATE], INSIDE),
    ("fwupd", p256, &[CERTIFICATE], INSIDE),
    ("esp32", p256, &[], INSIDE),
    // What is vbmeta by itself takes no parameters.
    ("avb", rsa2048, &[], INSIDE),
    ("avb", rsa2048, &[("partition-name", "boot"), ("partition-size", "12288")], INSIDE),
    ("tfa", p256, &[], INSIDE),
    ("oci", p256, &[], include_bytes!("../../fixtures/oci/manifest.bin")),
    ("cms", p256, &[CERTIFICATE], FIRMWARE),
    ("sigstore", p256, &[], FIRMWARE),
    ("jcat", p256, &[CERTIFICATE, ("name", "file")], FIRMWARE),
    ("fsverity", p256, &[CERTIFICATE], FIRMWARE),
    ("dmverity", p256, &[CERTIFICATE], include_bytes!("../../fixtures/dmverity/image.bin")),
];

const INSIDE: &[u8] = b"";
const FIRMWARE: &[u8] = b"firmware";
const CERTIFICATE: (&str, &str) = ("certificate", include_str!("../../fixtures/keys/p256.crt"));
const RECIPIENT: (&str, &str) = ("encrypt", include_str!("../../fixtures/keys/x25519.pub.pem"));

/// All of them, made once: reading a key costs more than most inputs do.
static WISHES: LazyLock<Vec<Wish>> = LazyLock::new(|| {
    let rows = ROWS.iter().map(|(format, key, parameters, over)| Wish {
        format,
        key: key(),
        parameters: parameters.iter().copied().collect(),
        over,
    });
    rows.collect()
});

/// What a format is asked for.
pub fn of(format: &str) -> impl Iterator<Item = &'static Wish> {
    WISHES.iter().filter(move |wish| wish.format == format)
}

pub fn p256() -> PublicKey {
    from_pem(include_str!("../../fixtures/keys/p256.pub.pem"))
}

fn rsa2048() -> PublicKey {
    from_pem(include_str!("../../fixtures/keys/rsa2048.pub.pem"))
}

fn ed25519() -> PublicKey {
    PublicKey::from_ed25519([7; 32]).unwrap_or_else(|error| panic!("{error}"))
}

fn from_pem(pem: &str) -> PublicKey {
    PublicKey::from_pem(pem).unwrap_or_else(|error| panic!("{error}"))
}
