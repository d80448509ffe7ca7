//! PE images: sbverify and osslsigncode are the judges of ours, and we read
//! theirs and Debian's.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::process::Command;

use common::{OpenSsl, Random, TestKey, accepted, fixture, flip_each, make, mutate, venv, verifies};
use firmseal_formats::{Covered, FormatError, KeyClaim, find, inspect};
use firmseal_manifest::PublicKey;

/// Real images: a boot manager, and a kernel stub whose tail is odd.
const REAL: [&str; 2] =
    ["/usr/lib/systemd/boot/efi/systemd-bootx64.efi", "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"];

/// SPC_INDIRECT_DATA, which the content of a signature begins behind.
const SPC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];

fn run(program: &str, openssl: &OpenSsl, line: &str) -> bool {
    let out = Command::new(program).args(line.split_whitespace()).current_dir(openssl.dir.path()).output();
    out.unwrap_or_else(|error| panic!("{program}: {error}; run `cargo xtask setup`")).status.success()
}

fn sbverify(openssl: &OpenSsl, image: &[u8], key: &str) -> bool {
    openssl.write("verify.efi", image);
    run("sbverify", openssl, &format!("--cert {key}.crt verify.efi"))
}

fn osslsigncode(openssl: &OpenSsl, image: &[u8], key: &str) -> bool {
    openssl.write("verify.efi", image);
    run("osslsigncode", openssl, &format!("verify -in verify.efi -CAfile {key}.crt"))
}

#[test]
fn sbverify_and_osslsigncode_accept_ours_and_refuse_tampered_and_foreign() {
    let openssl = OpenSsl::new(&["p256", "rsa2048", "rsa3072", "other-rsa2048"]);
    let images = REAL.map(|path| std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}")));
    for image in images.into_iter().chain([fixture("pe/unsigned.bin")]) {
        for name in ["p256", "rsa2048", "rsa3072"] {
            let (key, certificate) = (TestKey::load(name), openssl.text(&format!("{name}.crt")));
            let wish = [("certificate", certificate.as_str()), ("signing-time", "2026-11-21T12:00:00Z")];
            let signed = make("pe", &image, &key, &wish).unwrap();
            assert!(accepted(&signed, &key.public), "{name}");
            assert!(!accepted(&signed, &TestKey::load("other-rsa2048").public), "{name}");
            assert!(sbverify(&openssl, &signed, name), "{name}");
            assert!(osslsigncode(&openssl, &signed, name), "{name}");
            assert!(!sbverify(&openssl, &signed, "other-rsa2048"), "{name}");
            assert!(!osslsigncode(&openssl, &signed, "other-rsa2048"), "{name}");
            let mut tampered = signed.clone();
            tampered[1100] ^= 1;
            let read = inspect(&tampered).unwrap();
            assert_eq!(
                read.signatures[0].covered,
                Covered::Unknown("the image is not the one that was signed")
            );
            assert!(
                !sbverify(&openssl, &tampered, name) && !osslsigncode(&openssl, &tampered, name),
                "{name}"
            );
            // Signing again replaces the signature, and changes nothing else.
            let again = make("pe", &signed, &key, &wish).unwrap();
            assert_eq!(inspect(&again).unwrap().digest(), inspect(&signed).unwrap().digest());
            assert_eq!(inspect(&again).unwrap().signatures.len(), 1);
            assert!(sbverify(&openssl, &again, name));
        }
    }
}

#[test]
fn an_owner_signs_beside_the_vendor() {
    let openssl = OpenSsl::new(&["p256", "rsa2048"]);
    let (vendor, owner) = (TestKey::load("rsa2048"), TestKey::load("p256"));
    let (first, second) = (openssl.text("rsa2048.crt"), openssl.text("p256.crt"));
    let signed = make("pe", &fixture("pe/unsigned.bin"), &vendor, &[("certificate", &first)]).unwrap();
    let both = make("pe", &signed, &owner, &[("certificate", &second), ("append", "true")]).unwrap();
    assert_eq!(inspect(&both).unwrap().signatures.len(), 2);
    for (key, name) in [(&vendor, "rsa2048"), (&owner, "p256")] {
        assert!(accepted(&both, &key.public), "{name}");
        assert!(sbverify(&openssl, &both, name), "{name}");
    }
    let replaced = make("pe", &both, &owner, &[("certificate", &second)]).unwrap();
    assert_eq!(inspect(&replaced).unwrap().signatures.len(), 1);
    assert!(!accepted(&replaced, &vendor.public) && !sbverify(&openssl, &replaced, "rsa2048"));
}

#[test]
fn we_read_what_others_sign() {
    let unsigned = inspect(&fixture("pe/unsigned.bin")).unwrap();
    assert_eq!((unsigned.target.as_deref(), unsigned.signatures.len()), (Some("x64"), 0));
    let fields: Vec<_> = unsigned.fields.iter().map(|own| (own.name.as_str(), own.value.as_str())).collect();
    assert_eq!(
        fields[..4],
        [
            ("subsystem", "EFI application"),
            ("sections", ".text (512), .data (512), .sbat (512)"),
            ("sbat sbat", "1"),
            ("sbat lab", "3"),
        ]
    );
    for (name, keys) in [
        ("sbsign_rsa2048", &["rsa2048"][..]),
        ("sbsign_p256", &["p256"]),
        ("osslsigncode_rsa2048", &["rsa2048"]),
        ("two_signatures", &["rsa2048", "p256"]),
    ] {
        let read = inspect(&fixture(&format!("pe/{name}.bin"))).unwrap();
        assert_eq!(read.digest(), unsigned.digest(), "{name}: signing changes nothing");
        assert_eq!(read.signatures.len(), keys.len(), "{name}");
        for (signature, key) in read.signatures.iter().zip(keys) {
            assert!(verifies(signature, &TestKey::load(key).public), "{name}");
        }
    }
}

/// A file of a Debian package, installed or unpacked by set-up.
fn debian(path: &str) -> Vec<u8> {
    let path = if path.starts_with('/') { path.into() } else { venv().join("share").join(path) };
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask setup`", path.display()))
}

/// What Debian signed: what shim starts first, GRUB in all that it starts from,
/// and the kernel. The last has no SBAT.
const SIGNED: [&str; 8] = [
    "/usr/lib/shim/fbx64.efi.signed",
    "/usr/lib/shim/mmx64.efi.signed",
    "/usr/libexec/fwupd/efi/fwupdx64.efi.signed",
    "real/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    "real/usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed",
    "real/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed",
    "real/usr/lib/grub/x86_64-efi-signed/grubnetx64-installer.efi.signed",
    "kernel/vmlinuz",
];

/// The certificate in a file whose subject has this name, in PEM under a name.
fn certificate_in(openssl: &OpenSsl, file: &[u8], named: &str, to: &str) {
    let named = named.as_bytes();
    let places = file.windows(named.len()).enumerate().filter(|(_, window)| *window == named);
    let starts = places.map(|(at, _)| {
        let begins =
            |at: &usize| file[*at..].starts_with(&[0x30, 0x82]) && file[at + 4..].starts_with(&[0x30, 0x82]);
        (0..at).rev().find(begins).unwrap()
    });
    for start in starts {
        let len = 4 + usize::from(u16::from_be_bytes([file[start + 2], file[start + 3]]));
        openssl.write("found.der", &file[start..start + len]);
        openssl.ok(&format!("x509 -inform DER -in found.der -out {to}.crt"));
        let subject = openssl.run(&format!("x509 -in {to}.crt -noout -subject")).stdout;
        if subject.trim_ascii_end().ends_with(named) {
            return;
        }
    }
    panic!("no certificate of {}", String::from_utf8_lossy(named));
}

#[test]
fn what_debian_signed_verifies_with_the_certificate_in_shim() {
    let openssl = OpenSsl::new(&["p256"]);
    let shim = debian("/usr/lib/shim/shimx64.efi");
    assert!(inspect(&shim).unwrap().signatures.is_empty());
    certificate_in(&openssl, &shim, "Debian Secure Boot CA", "ca");
    for path in SIGNED {
        let image = debian(path);
        let read = inspect(&image).unwrap();
        let [signature] = read.signatures.as_slice() else { panic!("{path}") };
        let KeyClaim::Key(key) = &signature.claim else { panic!("{path}") };
        assert!(verifies(signature, key), "{path}");
        let sbat = read.fields.iter().any(|own| own.name == "sbat sbat");
        assert_eq!(sbat, !path.contains("vmlinuz"), "{path}");
        // The peer says the same, and that Debian stands behind that key.
        assert!(sbverify(&openssl, &image, "ca"), "{path}");
        assert!(!sbverify(&openssl, &image, "p256"), "{path}");
        let mut tampered = image.clone();
        tampered[5000] ^= 1;
        assert!(!accepted(&tampered, key) && !sbverify(&openssl, &tampered, "ca"), "{path}");
        // An owner replaces Debian's signature, or keeps it.
        let (own, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
        let both = make("pe", &image, &own, &[("certificate", &certificate), ("append", "true")]).unwrap();
        assert!(accepted(&both, key) && accepted(&both, &own.public), "{path}");
        assert!(sbverify(&openssl, &both, "ca") && sbverify(&openssl, &both, "p256"), "{path}");
    }
}

/// What firmware starts first of Debian is shim, which Microsoft signed twice. A
/// signature brings its authority's certificate, and that it verifies by this one
/// says little: the first authority is the one that OVMF's variables name, the
/// second has the thumbprint that Microsoft publishes.
#[test]
fn shim_verifies_with_microsofts_certificates() {
    let openssl = OpenSsl::new(&["p256"]);
    let image = debian("real/usr/lib/shim/shimx64.efi.signed");
    let variables = debian("/usr/share/OVMF/OVMF_VARS_4M.ms.fd");
    certificate_in(&openssl, &variables, "Microsoft Corporation UEFI CA 2011", "ms0");
    certificate_in(&openssl, &image, "Microsoft UEFI CA 2023", "ms1");
    let thumb = String::from_utf8(openssl.run("x509 -in ms1.crt -noout -fingerprint -sha1").stdout).unwrap();
    assert!(thumb.contains("B5:EE:B4:A6:70:60:48:07:3F:0E:D2:96:E7:F5:80:A7:90:B5:9E:AA"), "{thumb}");
    let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
    // The certificate table, of which PE32+ tells behind 112 bytes and four directories.
    let mut at = word(word(60) + 24 + 112 + 32);
    let read = inspect(&image).unwrap();
    assert_eq!(read.signatures.len(), 2);
    let mut tampered = image.clone();
    tampered[5000] ^= 1;
    for (number, signature) in read.signatures.iter().enumerate() {
        let pkcs7 = &image[at + 8..at + word(at)];
        at += word(at).next_multiple_of(8);
        let spc = pkcs7.windows(SPC.len()).position(|window| window == SPC).unwrap() + SPC.len() + 2;
        openssl.write("pkcs7", pkcs7);
        openssl.write("content", &pkcs7[spc + 2..spc + 2 + usize::from(pkcs7[spc + 1])]);
        let by = |authority: &str| {
            let line = format!(
                "smime -verify -inform DER -in pkcs7 -binary -content content -CAfile {authority}.crt \
                 -partial_chain -purpose any -no_check_time -signer signer.crt -out copy"
            );
            openssl.run(&line).status.success()
        };
        assert!(!by("p256") && !by(["ms1", "ms0"][number]) && by(["ms0", "ms1"][number]), "{number}");
        openssl.ok("x509 -in signer.crt -noout -pubkey -out signer.pem");
        let key = PublicKey::from_pem(&openssl.text("signer.pem")).unwrap();
        assert!(verifies(signature, &key) && !accepted(&tampered, &key), "{number}");
    }
    assert!(sbverify(&openssl, &image, "ms0") && sbverify(&openssl, &image, "ms1"));
    assert!(!sbverify(&openssl, &tampered, "ms0"));
}

/// What peers answer wrongly, and why we say otherwise: sbverify 0.9.4 verifies by
/// whatever certificate it is given where a signature brings the certificate of
/// its signer's authority, unless that is a root; it still compares image and
/// signature. And osslsigncode knows one entry in a table.
#[test]
fn known_wrong_answers() {
    let openssl = OpenSsl::new(&["p256", "rsa2048", "rsa3072", "other-rsa2048"]);
    openssl.write("authority", b"basicConstraints=CA:TRUE\n");
    openssl.write("signer", b"extendedKeyUsage=codeSigning\n");
    let issue = |key: &str, by: (&str, &str), extensions: &str, to: &str| {
        let (certificate, private) = by;
        openssl.ok(&format!("req -new -key {key}.pem -subj /CN={to} -out {to}.csr"));
        openssl.ok(&format!(
            "x509 -req -in {to}.csr -CA {certificate}.crt -CAkey {private}.pem -CAcreateserial -days 30 \
             -extfile {extensions} -out {to}.crt"
        ));
    };
    issue("rsa2048", ("rsa3072", "rsa3072"), "authority", "between");
    issue("p256", ("between", "rsa2048"), "signer", "leaf");
    let (leaf, chain) = (openssl.text("leaf.crt"), openssl.text("leaf.crt") + &openssl.text("between.crt"));
    let (key, plain) = (TestKey::load("p256"), fixture("pe/unsigned.bin"));
    let signed = |certificate: &str| make("pe", &plain, &key, &[("certificate", certificate)]).unwrap();
    let (alone, brought) = (signed(&leaf), signed(&chain));
    assert!(sbverify(&openssl, &alone, "between") && !sbverify(&openssl, &alone, "other-rsa2048"));
    assert!(sbverify(&openssl, &brought, "other-rsa2048"), "this is wrong");
    assert!(
        osslsigncode(&openssl, &brought, "rsa3072") && !osslsigncode(&openssl, &brought, "other-rsa2048")
    );
    assert!(accepted(&brought, &key.public) && !accepted(&brought, &TestKey::load("rsa2048").public));
    let mut tampered = brought;
    tampered[1100] ^= 1;
    assert!(!sbverify(&openssl, &tampered, "other-rsa2048") && !accepted(&tampered, &key.public));
    let (owner, own) = (TestKey::load("rsa2048"), openssl.text("rsa2048.crt"));
    let both = make("pe", &alone, &owner, &[("certificate", &own), ("append", "true")]).unwrap();
    assert!(accepted(&both, &key.public) && accepted(&both, &owner.public));
    assert!(!osslsigncode(&openssl, &both, "rsa3072") && !osslsigncode(&openssl, &both, "rsa2048"));
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let (plain, signed) = (fixture("pe/unsigned.bin"), fixture("pe/sbsign_p256.bin"));
    // In the fixture: PE header at 64, optional header at 88, directories at
    // 200, sections at 328, the certificate table at 2056.
    // What, in which file, where, which bytes, why.
    type Edit<'a> = (&'a str, &'a [u8], usize, &'a [u8], &'a str);
    let edits: [Edit<'_>; 22] = [
        ("an optional header of another kind", &plain, 88, &[0x07, 0x01], "neither PE32 nor PE32+"),
        ("too few directories", &plain, 196, &[4], "no place for a certificate table"),
        ("too many directories", &plain, 196, &[17], "more directories than there are"),
        ("directories beyond the header", &plain, 84, &[0xc8], "do not fit its optional header"),
        ("no section", &plain, 70, &[0], "no section"),
        ("many sections", &plain, 70, &[97], "more than 96"),
        ("headers that end before the sections", &plain, 148, &[0x80, 1], "headers do not end"),
        ("headers beyond the file", &plain, 148, &[0, 0, 1], "headers do not end"),
        ("overlapping sections", &plain, 328 + 40 + 20, &[0, 3], "overlap"),
        ("a section in the headers", &plain, 328 + 20, &[0, 1], "overlap"),
        ("a gap", &plain, 328 + 16, &[0, 1], "gap"),
        ("a section beyond the file", &plain, 328 + 80 + 16, &[0, 0x10], "ends behind the file"),
        ("a section loaded over another", &plain, 328 + 40 + 13, &[0x10], "loaded over each other"),
        ("a section loaded over the headers", &plain, 328 + 13, &[1], "one over the headers"),
        ("a section loaded beyond the image", &plain, 328 + 80 + 15, &[1], "beyond the size of the image"),
        ("a table without size", &plain, 232, &[8, 8], "a place or a size"),
        ("a table on no multiple of 8", &signed, 232, &[0x09], "multiple of 8"),
        ("a table that ends early", &signed, 236, &[0x98], "does not end where the file ends"),
        ("a signature of another kind", &signed, 2056 + 6, &[1], "no PKCS #7"),
        ("an entry beyond the table", &signed, 2056, &[0xff, 0xff], "does not fit"),
        ("an empty entry", &signed, 2056, &[8, 0], "does not fit"),
        ("SBAT without a generation", &plain, 1536, b"sbat,x", "without component and generation"),
    ];
    for (name, base, at, bytes, why) in &edits {
        let mut file = base.to_vec();
        file[*at..at + bytes.len()].copy_from_slice(bytes);
        let error = find("pe").unwrap().inspect(&file).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut file = signed.clone();
        edit(&mut file);
        find("pe").unwrap().inspect(&file)
    };
    assert!(with(&|file| file.extend([0; 8])).is_err(), "bytes behind the table");
    assert!(with(&|file| file.truncate(file.len() - 8)).is_err(), "a table that is cut short");
    // Code behind a signature, which no digest covers (CVE-2013-3900).
    let padded = with(&|file| {
        let (len, more) = (file.len() - 2056, 64);
        file.extend([0x90; 64]);
        file[2056..2060].copy_from_slice(&((len + more) as u32).to_le_bytes());
        file[236..240].copy_from_slice(&((len + more) as u32).to_le_bytes());
    });
    assert!(padded.unwrap_err().to_string().contains("behind one of its signatures"));
    // A PE header in the DOS header, with a signature that is found there.
    let mut folded = plain.clone();
    folded[60] = 32;
    folded[32..36].copy_from_slice(b"PE\0\0");
    assert!(find("pe").unwrap().inspect(&folded).unwrap_err().to_string().contains("DOS header"));
    let mut windows = plain.clone();
    windows[156] = 3;
    assert!(find("pe").unwrap().inspect(&windows).is_ok());
    let openssl = OpenSsl::new(&["p256"]);
    let certificate = openssl.text("p256.crt");
    let error = make("pe", &windows, &TestKey::load("p256"), &[("certificate", &certificate)]).unwrap_err();
    assert!(error.to_string().contains("something else than UEFI"), "{error}");
    for name in ["p384", "ed25519"] {
        let error = make("pe", &plain, &TestKey::load(name), &[("certificate", &certificate)]).unwrap_err();
        assert!(matches!(error, FormatError::KeyAlgorithm { .. }), "{name}");
    }
}

/// sbverify and osslsigncode take a CMS signature over a file that is the
/// content of an Authenticode signature as one over the image named there.
#[test]
fn the_content_of_an_authenticode_signature_is_signed_by_nobody() {
    let signed = fixture("pe/sbsign_p256.bin");
    // SPC_INDIRECT_DATA, [0], SEQUENCE: what is inside is hashed.
    let at = signed.windows(SPC.len()).position(|window| window == SPC).unwrap() + SPC.len() + 2;
    let content = signed[at + 2..at + 2 + usize::from(signed[at + 1])].to_vec();
    assert_eq!((signed[at], content[0]), (0x30, 0x30));
    let openssl = OpenSsl::new(&["p256"]);
    let certificate = openssl.text("p256.crt");
    for file in [content, signed[at..at + 2 + usize::from(signed[at + 1])].to_vec()] {
        for format in ["raw", "cms"] {
            let wish: &[(&str, &str)] = if format == "cms" { &[("certificate", &certificate)] } else { &[] };
            let refused = make(format, &file, &TestKey::load("p256"), wish);
            assert!(matches!(refused, Err(FormatError::Inner { .. })), "{format}");
        }
        assert!(matches!(firmseal_formats::detect(&file), Err(FormatError::Inner { .. })));
    }
}

#[test]
fn what_we_accept_sbverify_accepts() {
    let count = std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"));
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let good = make("pe", &fixture("pe/unsigned.bin"), &key, &[("certificate", &certificate)]).unwrap();
    // The certificate says which key signed, and is not what is believed here.
    openssl.ok("x509 -in p256.crt -outform DER -out p256.der");
    let der = openssl.read("p256.der");
    let start = good.windows(der.len()).position(|window| window == der).unwrap();
    let outside =
        |bytes: &[u8]| [&bytes[..start], &bytes[bytes.len() + start + der.len() - good.len()..]].concat();
    let judge = |bytes: &[u8], what: &str| {
        if accepted(&bytes, &key.public) && !sbverify(&openssl, bytes, "p256") {
            assert_eq!(outside(bytes), outside(&good), "{what}");
        }
    };
    flip_each(&good, start..start + der.len(), judge);
    for seed in 0..count {
        let mut random = Random(seed);
        let mut bytes = good.clone();
        // The headers, or the signature.
        let at = [0, 2056][random.below(2)];
        let mut piece = bytes.split_off(at);
        mutate(&mut piece, &mut random);
        bytes.extend(piece);
        judge(&bytes, &format!("seed {seed}"));
    }
}
