//! Keys of the service that sign with a certificate: EFI images, and files with
//! CMS beside them. None of them is blind: what is signed was read, and passed
//! the gate and the policy.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Server, Shell, server};

const IMAGE: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

const POLICY: &str = r#"
@id("everybody")
@reason("the lab signs what it builds")
permit (principal, action, resource);

@id("beta-only")
@reason("nothing is signed for stable yet")
forbid (principal, action in Action::"sign", resource)
when { context.channel == "stable" };
"#;

/// A place with two artifact keys, and certificates for them by an authority
/// of the lab's, which sees public halves alone.
fn place(t: &Shell) -> Server {
    let port = server::init(t, "place");
    for (name, algorithm) in [("boot", "rsa3072"), ("other", "p256")] {
        t.ok(&format!(
            "firmseal keys generate file:place/keys/{name}.pem --algorithm {algorithm} \
             --secret file:place/keys/passphrase"
        ));
    }
    let settings = String::from_utf8(t.read("place/signing.toml")).unwrap();
    let settings = settings.replace("artifact = \"file:keys/artifact.pem\"", "artifact = \"boot\"");
    let first = settings.find("[keys]").unwrap();
    let (head, tables) = settings.split_at(first);
    let key = |name: &str| {
        format!(
            "\n[[key]]\nname = \"{name}\"\nuri = \"file:keys/{name}.pem\"\npurpose = \"artifact\"\n\
             environment = \"test\"\n"
        )
    };
    let keys = key("boot") + &key("other");
    t.write("place/signing.toml", format!("{head}policy = \"policies\"\n{tables}{keys}"));
    t.write("place/policies/lab.cedar", POLICY);
    let mut server = Server::in_place(t, "place", port);
    server.start();
    let product = |name: &str, format: &str, size: &str| {
        t.ok(&format!(
            "firmseal product create {name} --vendor example.com --class {name} --component main={size} \
             --format {format}"
        ));
    };
    product("esp", "pe", "1MiB");
    product("small", "pe", "64kB");
    product("files", "cms", "1MiB");
    product("plain", "raw", "1MiB");
    t.ok("openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 30 -subj /CN=lab");
    for name in ["boot", "other"] {
        let shown = t.json(&format!("firmseal keys show {name}"));
        t.write(&format!("{name}.pub.pem"), shown["key"]["public"].as_str().unwrap());
        t.ok(&format!(
            "openssl x509 -new -force_pubkey {name}.pub.pem -subj /CN={name} -CA ca.crt -CAkey ca.key -days 30 \
             -out {name}.crt"
        ));
    }
    server
}

fn sign(file: &str, product: &str, more: &str) -> String {
    format!("firmseal sign {file} --product {product} --channel beta --version 1.0.0 --epoch 0 {more}")
}

#[test]
fn keys_that_are_not_blind_sign_efi_images_and_cms_behind_gate_and_policy() {
    let t = Shell::new();
    let _server = place(&t);
    let wish = "--param certificate=@boot.crt";

    // An image, and what firmware thinks of it.
    t.ok(&sign(IMAGE, "esp", &format!("{wish} -o signed.efi")));
    t.ok("sbverify --cert ca.crt signed.efi");
    t.ok("osslsigncode verify -in signed.efi -CAfile ca.crt");
    t.ok("firmseal verify --public boot.pub.pem signed.efi").says("sbat systemd");
    t.run("firmseal verify --public other.pub.pem signed.efi").exits(3).says("by another key");
    t.ok("firmseal inspect signed.efi").says("EFI application").says("x64");
    let mut tampered = t.read("signed.efi");
    tampered[2000] ^= 1;
    t.write("tampered.efi", tampered);
    t.run("firmseal verify --public boot.pub.pem tampered.efi")
        .exits(3)
        .says("the image is not the one that was signed");
    assert_ne!(t.run("sbverify --cert ca.crt tampered.efi").code, Some(0));
    // Asked for again it is the same signature; an owner signs beside it.
    t.ok(&sign(IMAGE, "esp", &format!("{wish} -o again.efi")));
    assert_eq!(t.read("signed.efi"), t.read("again.efi"));
    let owner = "--key other --param certificate=@other.crt --param append=true -o both.efi";
    t.ok(&sign("signed.efi", "esp", owner));
    t.ok("firmseal verify --public boot.pub.pem both.efi");
    t.ok("firmseal verify --public other.pub.pem both.efi");
    t.ok("sbverify --cert other.crt both.efi");

    // Gate and policy stand before the key.
    t.run(&sign(IMAGE, "small", wish)).exits(3).says("a slot holds");
    let stable = sign(IMAGE, "esp", wish).replace("--channel beta", "--channel stable");
    t.run(&stable).exits(3).says("nothing is signed for stable yet");
    t.write("firmware.bin", vec![7; 20_000]);
    t.run(&sign("firmware.bin", "esp", wish)).exits(3).says("no PE header");
    let refused = t.run(&sign(IMAGE, "esp", "--param certificate=@other.crt")).exits(3);
    refused.says("parameter `certificate`: it is for key");
    t.run(&sign(IMAGE, "esp", "--param certificate=@nowhere.crt")).exits(2).says("nowhere.crt");

    // A file with CMS beside it.
    t.ok(&sign("firmware.bin", "files", &format!("{wish} --param padding=pkcs1 -o firmware.p7s")));
    t.ok("openssl cms -verify -binary -inform DER -in firmware.p7s -content firmware.bin -CAfile ca.crt \
         -purpose any -out copy.bin");
    assert_eq!(t.read("copy.bin"), t.read("firmware.bin"));
    t.ok("firmseal verify --public boot.pub.pem firmware.bin --format cms --signature firmware.p7s");
    // What the key signs is the same, what was asked for is not: each has its
    // own file.
    let made = t.json(&sign("firmware.bin", "files", &format!("{wish} --param padding=pkcs1")));
    let pem = "--param padding=pkcs1 --param form=pem -o firmware.pem";
    let pem = t.json(&sign("firmware.bin", "files", &format!("{wish} {pem}")));
    assert_eq!(made["signature"]["tbs"], pem["signature"]["tbs"]);
    assert_ne!(made["signature"]["signed"], pem["signature"]["signed"]);
    let kept = t.ok("sha256sum firmware.pem").stdout;
    assert!(kept.starts_with(pem["signature"]["signed"].as_str().unwrap()), "{kept}{pem}");
    t.write("other.bin", vec![8; 20_000]);
    t.run("firmseal verify --public boot.pub.pem other.bin --format cms --signature firmware.p7s")
        .exits(3)
        .says("it is over something else");

    // What a key signs inside of them is no file for it.
    let name = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
    let made = t.read("firmware.p7s");
    let at = made.windows(name.len()).position(|window| window == name).unwrap() - 4;
    let mut attributes = made[at..at + 2 + usize::from(made[at + 1])].to_vec();
    attributes[0] = 0x31;
    t.write("attributes.bin", attributes);
    for product in ["plain", "files", "esp"] {
        t.run(&sign("attributes.bin", product, "")).exits(3).says("a set of attributes");
    }

    // Each use of a key is told of in the log, as for every other file.
    t.recorded("--action artifact-signed", 4..=4);
    // Whoever has what came out of it finds the one that it came of; what went
    // in had two signatures made, and asked for again.
    let found = t.json("firmseal audit --artifact firmware.pem");
    assert_eq!((found.as_array().unwrap().len(), &found[0]["request"]), (1, &pem["id"]), "{found}");
    let found = t.json("firmseal audit --artifact firmware.bin --action artifact-signed");
    assert_eq!(found.as_array().unwrap().len(), 2, "{found}");
    t.run("firmseal audit --artifact nowhere.bin").fails(8, "nowhere.bin");
}

#[test]
fn a_key_of_ones_own_signs_them_without_a_server() {
    let t = Shell::new();
    t.ok("openssl req -x509 -newkey rsa:2048 -nodes -keyout own.key -out own.crt -days 30 -subj /CN=own");
    t.ok("openssl x509 -in own.crt -noout -pubkey -out own.pem");
    let key = "--public own.pem --param certificate=@own.crt";
    t.ok(&format!("firmseal digest {IMAGE} {key} -o image.digest"));
    t.ok("openssl pkeyutl -sign -inkey own.key -pkeyopt digest:sha256 -in image.digest -out image.sig");
    t.ok(&format!("firmseal attach {IMAGE} {key} --signature image.sig -o signed.efi"));
    t.ok("sbverify --cert own.crt signed.efi");
    t.write("firmware.bin", vec![7; 20_000]);
    let cms = format!("{key} --format cms --param padding=pkcs1");
    t.ok(&format!("firmseal digest firmware.bin {cms} -o cms.digest"));
    t.ok("openssl pkeyutl -sign -inkey own.key -pkeyopt digest:sha256 -in cms.digest -out cms.sig");
    t.ok(&format!("firmseal attach firmware.bin {cms} --signature cms.sig -o firmware.p7s"));
    t.ok("openssl cms -verify -binary -inform DER -in firmware.p7s -content firmware.bin -CAfile own.crt \
         -purpose any -out copy.bin");
    t.run(&format!("firmseal attach firmware.bin {cms} --signature image.sig -o wrong.p7s")).exits(3);
}
