//! MCUboot images whose signature is made through the module, judged by
//! imgtool: `firmseal digest` and `firmseal attach` around it, and imgtool's
//! own pair.

use firmseal_e2e::Shell;

use super::{ENGINE, place, with_module};

/// What the service, `firmseal digest`, `firmseal attach` and imgtool are told
/// of one image alike.
const LAYOUT: &str = "--param header-size=512 --param slot-size=0x80000 --param pad-header=true";
const IMGTOOL: &str = "imgtool sign -H 512 -S 0x80000 --pad-header -s 1";

/// Signs a digest with a key of the module, as MCUboot has it.
fn pkeyutl(key: &str, digest: &str) -> String {
    let how = match key {
        "rsa" | "fit" => "-pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32",
        _ => "",
    };
    format!(
        "openssl pkeyutl {ENGINE} -sign -inkey pkcs11:object={key};type=private -pkeyopt digest:sha256 {how} \
         -in {digest} -out {digest}.sig"
    )
}

/// An image for MCUboot, and the public halves of the keys that sign it.
fn image(t: &Shell, m: &Shell) {
    t.write("app.bin", vec![5; 60_000]);
    for key in ["boot", "rsa", "lab", "fit"] {
        m.ok(&format!(
            "openssl pkey -engine pkcs11 -inform engine -pubin -in pkcs11:object={key};type=public -pubout \
             -out {key}.pem"
        ));
    }
}

#[test]
fn imgtool_takes_what_was_derived_here_and_signed_through_the_module() {
    let t = Shell::new();
    let server = place(&t);
    let m = with_module(&t, &server, "");
    image(&t, &m);
    for key in ["boot", "rsa"] {
        let how = format!("app.bin --version 1.4.0 --epoch 1 {LAYOUT}");
        let alone = format!("{how} --format mcuboot --public {key}.pem");
        t.ok(&format!("firmseal digest {alone} -o {key}.digest"));
        // Nobody handed the image in.
        let refused = m.run(&pkeyutl(key, &format!("{key}.digest")));
        assert_ne!(refused.code, Some(0), "{}", refused.stdout);
        refused.says(&format!("key {key} has signed nothing with this digest"));
        t.ok(&format!("firmseal sign {how} --product camera --key {key} -o {key}.service.bin"));
        m.ok(&pkeyutl(key, &format!("{key}.digest")));
        t.ok(&format!("firmseal attach {alone} --signature {key}.digest.sig -o {key}.bin"));
        t.ok(&format!("imgtool verify -k {key}.pem {key}.bin")).says("Image was correctly validated");
        assert_eq!(t.read(&format!("{key}.bin")), t.read(&format!("{key}.service.bin")));

        // imgtool's own pair derives the same, and makes the same file of it.
        let (digest, sig) = (format!("{key}.theirs"), format!("{key}.theirs.sig"));
        t.ok(&format!("{IMGTOOL} -v 1.4.0 --vector-to-sign digest app.bin {digest}"));
        assert_eq!(t.read(&digest), t.read(&format!("{key}.digest")));
        m.ok(&pkeyutl(key, &digest));
        t.ok(&format!("openssl base64 -A -in {sig} -out {sig}.text"));
        let fixed = format!("--fix-sig {sig}.text --fix-sig-pubkey {key}.pem");
        t.ok(&format!("{IMGTOOL} -v 1.4.0 {fixed} app.bin {key}.imgtool.bin"));
        t.ok(&format!("imgtool verify -k {key}.pem {key}.imgtool.bin")).says("Image was correctly validated");
        assert_eq!(t.read(&format!("{key}.imgtool.bin")), t.read(&format!("{key}.bin")));

        // One signature goes into one image.
        let other = alone.replace("1.4.0", "1.4.1");
        t.run(&format!("firmseal attach {other} --signature {key}.digest.sig -o other.bin")).exits(3);
        assert!(!t.path("other.bin").exists());
    }
    // Each key was used once, by the service.
    t.recorded("--action artifact-signed", 2..=2);
    // Blind keys sign any digest, in a test environment.
    for key in ["lab", "fit"] {
        let alone =
            format!("app.bin --version 1.4.2 --epoch 99 {LAYOUT} --format mcuboot --public {key}.pem");
        t.ok(&format!("firmseal digest {alone} -o {key}.digest"));
        m.ok(&pkeyutl(key, &format!("{key}.digest")));
        t.ok(&format!("firmseal attach {alone} --signature {key}.digest.sig -o {key}.bin"));
        t.ok(&format!("imgtool verify -k {key}.pem {key}.bin")).says("Image was correctly validated");
    }
}

#[test]
fn digests_of_images_that_did_not_pass_the_gate_are_not_signed() {
    let t = Shell::new();
    let server = place(&t);
    let m = with_module(&t, &server, "");
    image(&t, &m);
    t.ok(&format!(
        "firmseal sign app.bin --product camera --version 1.4.0 --epoch 1 --key boot {LAYOUT} -o signed.bin"
    ));
    let refused = |name: &str| {
        let refused = m.run(&pkeyutl("boot", name));
        assert_ne!(refused.code, Some(0), "{}", refused.stdout);
        refused.says("key boot has signed nothing with this digest");
    };
    // Another version of what passed, and one that the gate refused.
    let alone = format!("app.bin --format mcuboot --public boot.pem {LAYOUT}");
    t.ok(&format!("firmseal digest {alone} --version 1.4.1 --epoch 1 -o version.digest"));
    refused("version.digest");
    let ahead = "--version 1.4.2 --epoch 99";
    t.run(&format!("firmseal sign app.bin --product camera {ahead} --key boot {LAYOUT}"))
        .exits(3)
        .says("gate-epoch-ahead");
    t.ok(&format!("firmseal digest {alone} {ahead} -o ahead.digest"));
    refused("ahead.digest");
    // Nor by the way round: exactly the bytes that MCUboot hashes, handed in
    // as any file, would be signed with that digest.
    t.ok(&format!("{IMGTOOL} -v 1.4.3 --vector-to-sign payload app.bin payload.bin"));
    t.ok(&format!("{IMGTOOL} -v 1.4.3 --vector-to-sign digest app.bin payload.digest"));
    t.ok("openssl dgst -sha256 -binary -out payload.sha256 payload.bin");
    assert_eq!(t.read("payload.sha256"), t.read("payload.digest"));
    t.run("firmseal sign payload.bin --product gateway --version 1.4.3 --epoch 1 --key boot")
        .exits(3)
        .says("format: ");
    // Nor the digest as a file, by a key that is not blind.
    t.run("firmseal sign payload.digest --product lab --version 1.4.3 --epoch 1 --key boot").exits(3);
    refused("payload.digest");
    let signed = t.json("firmseal audit --action artifact-signed --key boot");
    assert_eq!(signed.as_array().unwrap().len(), 1, "{signed}");
}
