//! Other people's tools sign through our PKCS#11 module: with a key of the
//! service what was handed in before, and nothing else; with a blind key, in a
//! test environment, whatever they hash.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Server, Shell, binaries, server};

const ENGINE: &str = "-engine pkcs11 -keyform engine";

/// A place with two artifact keys: one for files, one that is blind.
fn place(t: &Shell) -> Server {
    let port = server::init(t, "place");
    let secret = "--secret file:place/keys/passphrase";
    t.ok(&format!("firmseal keys generate file:place/keys/lab.pem --algorithm p256 {secret}"));
    let settings = String::from_utf8(t.read("place/signing.toml")).unwrap();
    assert!(settings.contains("artifact = \"file:keys/artifact.pem\""), "{settings}");
    let settings = settings.replace("artifact = \"file:keys/artifact.pem\"", "artifact = \"boot\"");
    let table = |name: &str, file: &str, more: &str| {
        format!(
            "\n[[key]]\nname = \"{name}\"\nuri = \"file:keys/{file}.pem\"\npurpose = \"artifact\"\n\
             environment = \"test\"\n{more}\n"
        )
    };
    let lab = table("lab", "lab", "blind = true\nproducts = [\"lab\"]");
    t.write("place/signing.toml", settings + &table("boot", "artifact", "products = [\"gateway\"]") + &lab);
    let mut server = Server::in_place(t, "place", port);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=16MiB");
    t.ok(
        "firmseal product create lab --vendor example.com --class lab --component main=64kB --format digest",
    );
    server
}

/// A shell whose OpenSSL has the module.
fn with_module(t: &Shell, server: &Server, lab: &str) -> Shell {
    let text = format!(
        "server = \"{}\"\nauthority = \"place/tls/server.pem\"\ntoken = \"place/operator.token\"\n\
         [[key]]\nname = \"boot\"\n[[key]]\nname = \"lab\"\nblind = {{ product = \"lab\" }}\n{lab}",
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
    // Each use stands in the log, once.
    let signed = t.json("firmseal audit --action artifact-signed");
    assert_eq!(signed.as_array().unwrap().len(), 1, "{signed}");
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
