//! What signatures of other formats could count for in a capsule, and the other
//! way round (decision 41).

use firmseal_formats::{Covered, FormatError, detect, inspect};

use crate::common::{self, OpenSsl, TestKey, accepted, fixture};
use crate::make;
use crate::peer::{GUID, cut, payload, smime};

/// A capsule around a signature that somebody else made.
fn capsule_around(signature: &[u8], payload: &[u8], count: u64) -> Vec<u8> {
    let made = fixture("capsule/p256.bin");
    let mut out = made[..92].to_vec();
    out.extend(count.to_le_bytes());
    out.extend((24 + signature.len() as u32).to_le_bytes());
    out.extend(&made[104..124]);
    out.extend([signature, payload].concat());
    let image = (out.len() - 92) as u32;
    out[68..72].copy_from_slice(&image.to_le_bytes());
    let size = out.len() as u32;
    out[24..28].copy_from_slice(&size.to_le_bytes());
    out
}

/// Without attributes a signature is over the hash of payload and count: what a
/// `raw` signature is over, for a file that is both. Firmware would take it.
#[test]
fn a_signature_without_attributes_is_not_believed() {
    let openssl = OpenSsl::new(&["p256"]);
    let signed = [&payload()[..], &7u64.to_le_bytes()].concat();
    openssl.write("signed", &signed);
    openssl.ok(
        "smime -sign -binary -noattr -outform DER -md sha256 -signer p256.crt -inkey p256.pem -in signed -out noattr.p7",
    );
    let capsule = capsule_around(&openssl.read("noattr.p7"), &payload(), 7);
    assert!(smime(&openssl, &openssl.read("noattr.p7"), &signed, "p256"), "firmware takes it");
    let read = inspect(&capsule).unwrap();
    assert_eq!(read.signatures[0].covered, Covered::Unknown("it has no signed attributes"));
    assert!(!accepted(&capsule, &TestKey::load("p256").public));
}

/// OpenSSL's CMS makes what its PKCS #7, which firmware has, does not verify.
#[test]
fn what_firmware_does_not_verify_is_not_believed() {
    let openssl = OpenSsl::new(&["rsa2048"]);
    let signed = [&payload()[..], &7u64.to_le_bytes()].concat();
    openssl.write("signed", &signed);
    let pss = "-keyopt rsa_padding_mode:pss -keyopt rsa_pss_saltlen:32 -keyopt rsa_mgf1_md:sha256";
    for (more, ours) in [("", true), (pss, false)] {
        openssl.ok(&format!(
            "cms -sign -binary -in signed -signer rsa2048.crt -inkey rsa2048.pem -outform DER -out made.p7 {more}"
        ));
        let made = openssl.read("made.p7");
        assert_eq!(smime(&openssl, &made, &signed, "rsa2048"), ours, "{more}");
        let capsule = capsule_around(&made, &payload(), 7);
        assert_eq!(accepted(&capsule, &TestKey::load("rsa2048").public), ours, "{more}");
    }
}

/// What cannot be told apart, so that it is written down: a key of a `cms`
/// product signs capsules. Where payloads have edk2's header they can be told.
#[test]
fn a_key_for_capsules_serves_nothing_else() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let own = ("certificate", certificate.as_str());
    let file = [&payload()[..], &7u64.to_le_bytes()].concat();
    let beside = common::make("cms", &file, &key, &[own]).unwrap();
    let capsule = capsule_around(&beside, &payload(), 7);
    assert!(accepted(&capsule, &key.public) && smime(&openssl, &beside, &file, "p256"));

    let versions = [own, ("guid", GUID), ("firmware-version", "3"), ("lowest-supported-version", "2")];
    let (file, _) = cut(&make(&payload(), &key, 7, &versions).unwrap(), 92);
    assert!(file.starts_with(b"MSS1"));
    // An expression of dependencies before it, which edk2 evaluates and skips.
    let depending = [&[0x06, 0x0d][..], &file].concat();
    // A longer header, which edk2 skips.
    let mut longer = file.clone();
    longer[4] = 20;
    for file in [file, depending, longer] {
        for (format, wish) in [("raw", &[][..]), ("cms", &[own][..]), ("capsule", &[own, ("guid", GUID)][..])]
        {
            let refused = common::make(format, &file, &key, wish);
            assert!(matches!(refused, Err(FormatError::Inner { .. })), "{format}");
        }
        assert!(matches!(detect(&file), Err(FormatError::Inner { .. })));
    }
}

/// sbverify and UEFI firmware take CMS over the content of an Authenticode
/// signature as a signature over the image whose digest stands in there. An
/// epoch is eight bytes that somebody chooses.
#[test]
fn payload_and_count_are_no_content_of_an_authenticode_signature() {
    let image = fixture("pe/sbsign_p256.bin");
    let kind = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];
    let at = image.windows(kind.len()).position(|window| window == kind).unwrap() + kind.len() + 2;
    let content = &image[at + 2..at + 2 + usize::from(image[at + 1])];
    let (head, tail) = content.split_last_chunk::<8>().unwrap();
    let epoch = u64::from_le_bytes(*tail);
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let own = ("certificate", certificate.as_str());
    let refused = make(head, &key, epoch, &[own, ("guid", GUID)]);
    assert!(matches!(refused, Err(FormatError::Inner { .. })), "{refused:?}");
    // In a capsule that is there already, signed or not.
    let mut unsigned = fixture("capsule/unsigned.bin")[..92].to_vec();
    unsigned.extend(head);
    for (at, len) in [(24, unsigned.len()), (68, head.len())] {
        unsigned[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
    }
    assert_eq!(inspect(&unsigned).unwrap().image_size, head.len() as u64);
    let signed = capsule_around(&cut(&fixture("capsule/p256.bin"), 92).1, head, epoch);
    for capsule in [unsigned, signed] {
        let refused = make(&capsule, &key, epoch, &[own]);
        assert!(matches!(refused, Err(FormatError::Inner { .. })), "{refused:?}");
    }
}
