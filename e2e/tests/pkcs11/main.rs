//! Other people's tools sign through our PKCS#11 module: with a key of the
//! service what was handed in before, and nothing else; with a blind key, in a
//! test environment, whatever they hash. What docs/how-to/pkcs11.md says of
//! each tool, it is seen to do.

#![allow(clippy::unwrap_used)]

mod imgtool;

use std::io::Write;

use firmseal_api::Base64;
use firmseal_e2e::{Child, Server, Shell, binaries, server, until};

const ENGINE: &str = "-engine pkcs11 -keyform engine";

/// A place with artifact keys: P-256 and RSA for files, and the same blind.
fn place(t: &Shell) -> Server {
    let port = server::init(t, "place");
    let secret = "--secret file:place/keys/passphrase";
    for (name, algorithm) in [("lab", "p256"), ("rsa", "rsa3072"), ("fit", "rsa3072")] {
        t.ok(&format!("firmseal keys generate file:place/keys/{name}.pem --algorithm {algorithm} {secret}"));
    }
    let settings = String::from_utf8(t.read("place/signing.toml")).unwrap();
    assert!(settings.contains("artifact = \"file:keys/artifact.pem\""), "{settings}");
    let settings = settings.replace("artifact = \"file:keys/artifact.pem\"", "artifact = \"boot\"");
    let table = |name: &str, file: &str, more: &str| {
        format!(
            "\n[[key]]\nname = \"{name}\"\nuri = \"file:keys/{file}.pem\"\npurpose = \"artifact\"\n\
             environment = \"test\"\n{more}\n"
        )
    };
    let files = table("boot", "artifact", "products = [\"gateway\", \"camera\"]")
        + &table("rsa", "rsa", "products = [\"gateway\", \"router\", \"camera\"]");
    let blind = "blind = true\nproducts = [\"lab\"]";
    t.write(
        "place/signing.toml",
        settings + &files + &table("lab", "lab", blind) + &table("fit", "fit", blind),
    );
    let mut server = Server::in_place(t, "place", port);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=16MiB");
    t.ok("firmseal product create router --vendor example.com --class router --component main=16MiB --format fit");
    t.ok("firmseal product create camera --vendor example.com --class camera --component app=512KiB --format mcuboot");
    t.ok(
        "firmseal product create lab --vendor example.com --class lab --component main=64kB --format digest",
    );
    server
}

/// A shell whose OpenSSL has the module.
fn with_module(t: &Shell, server: &Server, lab: &str) -> Shell {
    let text = format!(
        "server = \"{}\"\nauthority = \"place/tls/server.pem\"\ntoken = \"place/operator.token\"\n\
         [[key]]\nname = \"boot\"\n[[key]]\nname = \"rsa\"\n\
         [[key]]\nname = \"fit\"\nblind = {{ product = \"lab\" }}\n\
         [[key]]\nname = \"lab\"\nblind = {{ product = \"lab\" }}\n{lab}",
        server.operators()
    );
    t.write("module.toml", text);
    Shell::at(&t.path(""))
        .with("FIRMSEAL_PKCS11_CONFIG", t.path("module.toml"))
        .with("PKCS11_MODULE_PATH", binaries::pkcs11_module())
        .with("RAUC_PKCS11_MODULE", binaries::pkcs11_module())
}

/// Where OpenSSL has its engines.
fn engines(t: &Shell) -> String {
    let told = t.ok("openssl version -e").stdout;
    told.split('"').nth(1).unwrap().to_owned()
}

fn dgst(key: &str, file: &str) -> String {
    format!("openssl dgst {ENGINE} -sign pkcs11:object={key};type=private -sha256 -out {file}.sig {file}")
}

#[test]
fn openssl_signs_what_was_handed_in_and_nothing_else() {
    let t = Shell::new();
    let server = place(&t);
    let m = with_module(&t, &server, "");
    t.write("firmware.bin", vec![7; 20_000]);
    t.write("other.bin", vec![8; 20_000]);
    // Nobody had it signed.
    let refused = m.run(&dgst("boot", "firmware.bin"));
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);
    refused.says("key boot has signed nothing with this digest").says("firmseal sign --key boot");
    t.ok("firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 0 --key boot");
    m.ok(&dgst("boot", "firmware.bin"));
    m.ok("openssl pkey -engine pkcs11 -inform engine -pubin -in pkcs11:object=boot;type=public -pubout -out boot.pem");
    t.ok("openssl dgst -sha256 -verify boot.pem -signature firmware.bin.sig firmware.bin");
    // It is that file, and no other one.
    assert_ne!(m.run(&dgst("boot", "other.bin")).code, Some(0));
    // A product that takes digests is no way in for a key that is not blind.
    t.write("digest.bin", vec![9; 32]);
    t.run("firmseal sign digest.bin --product lab --version 0.0.0 --epoch 0 --key boot").exits(3);
    t.run("firmseal sign digest.bin --product lab --version 0.0.0 --epoch 0").exits(3);
    // OpenSSL pads RSA as PKCS #1 v1.5 unless told: that has to have been
    // asked for, and is another signature than PSS.
    let file = "firmware.bin --product gateway --version 1.0.0 --epoch 0 --key rsa";
    t.ok(&format!("firmseal sign {file}"));
    assert_ne!(m.run(&dgst("rsa", "firmware.bin")).code, Some(0));
    t.ok(&format!("firmseal sign {file} --param padding=pkcs1 --signature own.sig"));
    m.ok(&dgst("rsa", "firmware.bin"));
    assert_eq!(t.read("firmware.bin.sig"), t.read("own.sig"), "PKCS #1 v1.5 signs one way only");
    m.ok("openssl pkey -engine pkcs11 -inform engine -pubin -in pkcs11:object=rsa;type=public -pubout -out rsa.pem");
    t.ok("openssl dgst -sha256 -verify rsa.pem -signature own.sig firmware.bin");
    let p256 = "firmware.bin --product gateway --version 1.0.0 --epoch 0 --key boot --param padding=pkcs1";
    t.run(&format!("firmseal sign {p256}")).exits(3).says("RSA keys alone have one");
    // Each use stands in the log, once.
    t.recorded("--action artifact-signed", 3..=3);
}

#[test]
fn a_signer_outlives_a_change_of_servers() {
    let t = Shell::new();
    let mut server = place(&t);
    let m = with_module(&t, &server, "");
    t.write("firmware.bin", vec![7; 20_000]);
    t.ok("firmseal sign firmware.bin --product gateway --version 1.0.0 --epoch 0 --key boot");
    // OpenSSL has found its key when it opens the file.
    t.ok("mkfifo later");
    let mut signer = Child::start(&mut m.command(&dgst("boot", "later")));
    let mut file = std::fs::File::options().write(true).open(t.path("later")).unwrap();
    server.kill();
    file.write_all(&t.read("firmware.bin")).unwrap();
    drop(file);
    until("it to find that nobody answers", || signer.stderr.text().contains("firmseal: ").then_some(()));
    server.start();
    assert!(signer.wait().success(), "{}", signer.stderr.text());
    m.ok("openssl pkey -engine pkcs11 -inform engine -pubin -in pkcs11:object=boot;type=public -pubout -out boot.pem");
    t.ok("openssl dgst -sha256 -verify boot.pem -signature later.sig firmware.bin");
}

/// A kernel and a configuration that is signed, as U-Boot's documentation has
/// them.
const FIT: &str = r#"/dts-v1/;
/ {
    description = "lab";
    #address-cells = <1>;
    images {
        kernel {
            description = "kernel"; type = "kernel"; arch = "arm64"; os = "linux"; compression = "none";
            data = /incbin/("kernel.bin"); load = <0x80080000>; entry = <0x80080000>;
            hash-1 { algo = "sha256"; };
        };
    };
    configurations {
        default = "conf";
        conf {
            kernel = "kernel";
            signature-1 { algo = "sha256,rsa3072"; key-name-hint = "fit"; sign-images = "kernel"; };
        };
    };
};
"#;

#[test]
fn mkimage_signs_a_fit_and_puts_the_key_into_the_control_tree() {
    let t = Shell::new();
    let server = place(&t);
    let m = with_module(&t, &server, "");
    t.write("fit.its", FIT);
    t.write("kernel.bin", vec![3; 5000]);
    t.write("empty.dts", "/dts-v1/; / {};");
    t.ok("dtc -O dtb -o control.dtb empty.dts");
    m.ok("mkimage -N pkcs11 -k token=firmseal -f fit.its -K control.dtb -r lab.itb")
        .says("sha256,rsa3072:fit");
    // What stands in the image is a signature that the service made and
    // verified, and what U-Boot will verify it with is the service's key.
    let value = t.ok("fdtget -t bx lab.itb /configurations/conf/signature-1 value").stdout;
    let value: Vec<u8> = value.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    assert_eq!(value.len(), 384);
    let signed = t.json("firmseal audit --action artifact-signed --key fit");
    let made = signed.as_array().unwrap().iter().map(|record| {
        let request = t.json(&format!("firmseal request show {}", record["request"].as_str().unwrap()));
        serde_json::from_value::<Base64>(request["signature"]["value"].clone()).unwrap().0
    });
    assert!(made.collect::<Vec<_>>().contains(&value), "{signed}");
    let modulus = t.ok("fdtget -t x control.dtb /signature/key-fit rsa,modulus").stdout;
    let modulus: String = modulus.split_whitespace().map(|word| format!("{word:0>8}")).collect();
    m.ok("openssl pkey -engine pkcs11 -inform engine -pubin -in pkcs11:object=fit;type=public -pubout -out fit.pem");
    t.ok("openssl rsa -pubin -in fit.pem -noout -modulus").says(&modulus.to_uppercase());
}

#[test]
fn mkimage_signs_with_a_key_that_is_not_blind_what_was_handed_in() {
    let t = Shell::new();
    let server = place(&t);
    let m = with_module(&t, &server, "");
    t.write("fit.its", FIT.replace("key-name-hint = \"fit\"", "key-name-hint = \"rsa\""));
    t.write("kernel.bin", vec![3; 5000]);
    t.ok("mkimage -f fit.its built.itb");
    t.write("empty.dts", "/dts-v1/; / {};");
    t.ok("dtc -O dtb -o control.dtb empty.dts");
    let resign = |file: &str| format!("mkimage -N pkcs11 -k token=firmseal -F -K control.dtb -r {file}");
    // Nobody had it signed: nothing passed the gate.
    t.ok("cp built.itb early.itb");
    let refused = m.run(&resign("early.itb"));
    refused.says("key rsa has signed nothing with this digest");
    // It passed, and mkimage derives the same digest from what came of it.
    t.ok("firmseal sign built.itb --product router --version 1.0.0 --epoch 0 --key rsa -o router.itb");
    m.ok(&resign("router.itb")).says("sha256,rsa3072:rsa");
    t.ok("fdtget control.dtb /signature/key-rsa required").says("conf");
    t.ok("fit_check_sign -f router.itb -k control.dtb").says("Signature check OK");
    // Another image, and the same one with another load address, are others.
    t.write("kernel.bin", vec![4; 5000]);
    t.ok("mkimage -f fit.its other.itb");
    m.run(&resign("other.itb")).says("key rsa has signed nothing with this digest");
    t.ok("cp router.itb moved.itb");
    t.ok("fdtput -t x moved.itb /images/kernel load 90080000");
    m.run(&resign("moved.itb")).says("key rsa has signed nothing with this digest");
    // The key was used once, by the service.
    let signed = t.json("firmseal audit --action artifact-signed --key rsa");
    assert_eq!(signed.as_array().unwrap().len(), 1, "{signed}");
}

#[test]
fn tools_that_write_the_time_are_refused_by_keys_that_are_not_blind() {
    let t = Shell::new();
    let server = place(&t);
    let m = with_module(&t, &server, "");
    let image = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
    let key = "pkcs11:object=boot;type=private";
    // A certificate for the key: by somebody else, since the module would not
    // sign it with this one.
    t.ok("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -subj /CN=ca -out ca.crt");
    m.ok("openssl pkey -engine pkcs11 -inform engine -pubin -in pkcs11:object=boot;type=public -pubout -out boot.pem");
    t.ok("openssl req -new -key ca.key -subj /CN=boot -out boot.csr");
    t.ok("openssl x509 -req -in boot.csr -CA ca.crt -CAkey ca.key -force_pubkey boot.pem -days 30 -out boot.crt");
    t.write(
        "bundle/manifest.raucm",
        "[update]\ncompatible=lab\nversion=1\n[image.rootfs]\nfilename=root.img\n",
    );
    t.write("bundle/root.img", vec![5; 8192]);
    for line in [
        format!("sbsign --engine pkcs11 --key {key} --cert boot.crt --output sb.efi {image}"),
        format!(
            "osslsigncode sign -pkcs11engine {}/pkcs11.so -pkcs11module {} -key {key} -certs boot.crt -h sha256 \
             -in {image} -out os.efi",
            engines(&t),
            binaries::pkcs11_module().display()
        ),
        format!("rauc bundle --cert=boot.crt --key={key} bundle boot.raucb"),
    ] {
        let refused = m.run(&line);
        assert_ne!(refused.code, Some(0), "{line}");
        refused.says("key boot has signed nothing with this digest");
    }
    assert!(t.json("firmseal audit --action artifact-signed --key boot").as_array().unwrap().is_empty());
}

#[test]
fn tools_that_hash_for_themselves_sign_with_a_blind_key_in_a_test_environment() {
    let t = Shell::new();
    let server = place(&t);
    let m = with_module(&t, &server, "");
    m.ok(&format!(
        "openssl req -x509 {ENGINE} -key pkcs11:object=lab;type=private -subj /CN=lab -days 30 -out lab.crt \
         -addext extendedKeyUsage=codeSigning,emailProtection"
    ));
    let m = with_module(&t, &server, "certificate = \"lab.crt\"\n");
    t.ok("openssl verify -CAfile lab.crt lab.crt");
    let image = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";
    let key = "pkcs11:object=lab;type=private";
    m.ok(&format!("sbsign --engine pkcs11 --key {key} --cert lab.crt --output sb.efi {image}"));
    t.ok("sbverify --cert lab.crt sb.efi");
    m.ok(&format!(
        "osslsigncode sign -pkcs11engine {}/pkcs11.so -pkcs11module {} -key {key} -certs lab.crt -h sha256 -in {image} \
         -out os.efi",
        engines(&t),
        binaries::pkcs11_module().display()
    ));
    t.ok("osslsigncode verify -in os.efi -CAfile lab.crt");
    t.write(
        "bundle/manifest.raucm",
        "[update]\ncompatible=lab\nversion=1\n[image.rootfs]\nfilename=root.img\n",
    );
    t.write("bundle/root.img", vec![5; 8192]);
    m.ok(&format!("rauc bundle --cert=lab.crt --key={key} bundle lab.raucb"));
    t.ok("rauc info --keyring=lab.crt lab.raucb");
    let uses = t.json("firmseal keys usage lab");
    assert!(uses["uses"].as_u64().unwrap() >= 4, "each has an entry in the log: {uses}");
}
