//! Files to be signed: by the service, as a pipeline asks for it, and by keys
//! that other tools ask.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::path::Path;
use std::process::Command;

use place::{Place, bytes};
use serde_json::Value;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

/// OpenSSL in a directory; whether it agrees.
fn openssl(directory: &Path, line: &str) -> bool {
    let run = Command::new("openssl").args(line.split_whitespace()).current_dir(directory).output();
    run.expect("openssl runs").status.success()
}

const RAW: &str = "sign firmware.bin --product gw --version 1.0.0 --epoch 0 --build b1 --commit c1";

#[test]
fn a_file_is_signed_once_and_other_people_verify_it() {
    let place = Place::start();
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    place.write("firmware.bin", &bytes(20_000, 7));
    let first = place.json(&format!("{RAW} --signature one.sig"));
    assert_eq!(text(&first, "state"), "signed");
    assert!(text(&first, "idempotency_key").starts_with("cli-"), "{first}");
    let keys = place.json("keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["purpose"] == "artifact").unwrap();
    place.write("key.pem", text(key, "public").as_bytes());
    let directory = place.path(".");
    assert!(openssl(&directory, "dgst -sha256 -verify key.pem -signature one.sig firmware.bin"));
    place.write("other.bin", &bytes(20_000, 8));
    assert!(!openssl(&directory, "dgst -sha256 -verify key.pem -signature one.sig other.bin"));

    // Again: the same request, the same signature, and nothing is overwritten.
    let again = place.json(&format!("{RAW} --signature two.sig --public key.pem"));
    assert_eq!(again["id"], first["id"]);
    assert_eq!(place.read("two.sig"), place.read("one.sig"));
    place.fails(&format!("{RAW} --signature two.sig"), 6);
    // Another build of the same bytes: the record of the first.
    let twin = place.json(&RAW.replace("b1", "b2"));
    assert_eq!((&twin["signature"], twin["id"] == first["id"]), (&first["signature"], false));

    // Another key than the one that was wanted is a refusal, and no file.
    assert!(openssl(&directory, "ecparam -name prime256v1 -genkey -noout -out mine.pem"));
    assert!(openssl(&directory, "ec -in mine.pem -pubout -out mine.pub"));
    let told = place.fails(&format!("{RAW} --signature three.sig --public mine.pub"), 3);
    assert!(told.contains("which is not this one") && !place.path("three.sig").exists(), "{told}");
    let told = place.fails(&format!("{RAW} -o signed.bin"), 2);
    assert!(told.contains("no place for a signature"), "{told}");
    let told = place.fails(&RAW.replace("--epoch 0", "--epoch 17"), 3);
    assert!(told.contains("is refused: gate-epoch-ahead: "), "{told}");
    let told = place.fails(&format!("{RAW} --param slot-size=4096"), 3);
    assert!(told.contains("not known here; use padding"), "a misspelt bound bounds nothing: {told}");
    place.fails(&RAW.replace("--product gw", "--product nobodys"), 4);
    place.fails(&RAW.replace("firmware.bin", "missing.bin"), 8);
    let handed_in = place.json(&format!("{} --no-wait", RAW.replace("c1", "c3")));
    assert!(["queued", "signed"].contains(&text(&handed_in, "state")), "{handed_in}");
}

/// A team that makes no releases, under the policy that comes with us.
#[test]
fn what_goes_back_is_refused_without_any_release() {
    let mut place = Place::start();
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    for (number, name) in ["old", "new", "modem", "next", "last"].into_iter().enumerate() {
        place.write(name, &bytes(9_000, number as u64 + 3));
    }
    place.stop();
    let production =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/policies/production/policy.cedar");
    place.write("place/policy.cedar", &std::fs::read(production).unwrap());
    let settings = String::from_utf8(place.read("place/signing.toml")).unwrap();
    let settings = settings.replacen("secret = ", "policy = \"policy.cedar\"\nsecret = ", 1);
    place.write("place/signing.toml", settings.as_bytes());
    let place = place.again();
    let line = |file: &str, version: &str, epoch: u64| {
        format!("sign {file} --product gw --version {version} --epoch {epoch} --commit c1 --build {file}")
    };
    let signed = |line: &str| {
        let told = place.json(line);
        assert_eq!(text(&told, "state"), "signed", "{line}");
        told
    };
    let refused = |line: &str, rule: &str| {
        let told = place.fails(line, 3);
        assert!(told.contains(&format!("{rule}: ")), "{line}: {told}");
    };
    let first = signed(&line("new", "2.0.0", 5));
    refused(&line("old", "1.0.0", 0), "gate-epoch");
    refused(&line("old", "1.0.0", 5), "version-back");
    // Another file of the same build, and steps that no release made.
    signed(&line("modem", "2.0.0", 5));
    refused(&line("next", "2.1.0", 22), "gate-epoch-ahead");
    signed(&line("next", "2.1.0", 21));
    signed(&line("last", "2.2.0", 37));
    // The same build, asked for by another job of the pipeline.
    let again = signed(&line("new", "2.0.0", 5).replace("--build new", "--build again"));
    assert_eq!((&again["signature"], again["id"] == first["id"]), (&first["signature"], false));
    let release = |version: &str, epoch: u64| {
        format!("release create --product gw --version {version} --epoch {epoch} --component main=old")
    };
    let told = place.fails(&release("3.0.0", 36), 3);
    assert!(told.contains("security epoch 36 goes back"), "{told}");
    let told = place.fails(&release("2.1.9", 37), 3);
    assert!(told.contains("version-back"), "{told}");
    place.json(&release("3.0.0", 37));
}

#[test]
fn many_files_are_asked_for_together_and_each_is_signed_by_itself() {
    let place = Place::start();
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    let names: Vec<String> = (0..70).map(|number| format!("m{number}.bin")).collect();
    for (number, name) in names.iter().enumerate() {
        place.write(name, &bytes(3_000, number as u64 + 40));
    }
    let all = names.join(" ");
    let how = "--product gw --version 1.0.0 --epoch 0 --build b1 --commit c1";
    let told = place.json(&format!("sign {all} {how} --into signed"));
    let told = told.as_array().unwrap();
    assert_eq!(told.len(), 70, "more than one batch");
    let keys = place.json("keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["purpose"] == "artifact").unwrap();
    place.write("key.pem", text(key, "public").as_bytes());
    let directory = place.path(".");
    for (name, told) in names.iter().zip(told) {
        assert_eq!((text(told, "file"), text(&told["request"], "state")), (name.as_str(), "signed"));
        assert_eq!(text(told, "output"), format!("signed/{name}.sig"));
        let good = format!("dgst -sha256 -verify key.pem -signature signed/{name}.sig {name}");
        assert!(openssl(&directory, &good));
    }
    assert!(!openssl(&directory, "dgst -sha256 -verify key.pem -signature signed/m0.bin.sig m1.bin"));
    // Again, elsewhere: the same requests.
    let again = place.json(&format!("sign {all} {how} --into again"));
    assert_eq!(again[69]["request"]["id"], told[69]["request"]["id"]);
    assert_eq!(place.read("again/m69.bin.sig"), place.read("signed/m69.bin.sig"));

    // Nothing is asked for where it could not be written, or not told apart.
    place.fails(&format!("sign {all} {how} --into signed"), 6);
    let told = place.fails(&format!("sign m0.bin m1.bin {how} --signature one.sig"), 2);
    assert!(told.contains("--into"), "{told}");
    let told = place.fails(&format!("sign m0.bin ./m0.bin {how} --into two"), 2);
    assert!(told.contains("would both become two/m0.bin.sig"), "{told}");

    // What is refused keeps nothing else back. The component has 1 MiB.
    place.write("large.bin", &bytes((1 << 20) + 1, 3));
    place.write("small.bin", &bytes(3_000, 4));
    let told = place.fails(&format!("sign large.bin small.bin {how} --into some"), 3);
    assert!(told.contains("large.bin: ") && told.contains("is refused"), "{told}");
    assert!(place.path("some/small.bin.sig").exists() && !place.path("some/large.bin.sig").exists());
}

#[test]
fn a_signature_goes_into_the_file_on_this_machine() {
    let place = Place::start();
    place.json("product create cam --vendor example.com --class c --format mcuboot --component app=512KiB");
    place.write("app.bin", &bytes(3_000_000 / 16, 9));
    let sign = "sign app.bin --product cam --version 1.4.0 --epoch 1 --param header-size=512 \
                --param slot-size=0x80000 --param pad-header=true";
    let signed = place.json(&format!("{sign} -o app.signed.bin --signature app.sig"));
    // Written here, and byte for byte what the service keeps.
    let kept = text(&signed["signature"], "signed");
    let told = Command::new("sha256sum").arg(place.path("app.signed.bin")).output().unwrap();
    assert!(String::from_utf8(told.stdout).unwrap().starts_with(kept));
    let shown = place.stdout("inspect app.signed.bin");
    assert!(shown.contains("1.4.0"), "{shown}");

    // The pair for keys elsewhere makes the same of the same signature.
    let keys = place.json("keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["purpose"] == "artifact").unwrap();
    place.write("key.pem", text(key, "public").as_bytes());
    let how = "app.bin --format mcuboot --public key.pem --version 1.4.0 --epoch 1 --param header-size=512 \
               --param slot-size=0x80000 --param pad-header=true";
    let digest = place.json(&format!("digest {how} -o app.digest"));
    assert_eq!((text(&digest, "kind"), digest["tbs"] == signed["signature"]["tbs"]), ("sha256", true));
    assert_eq!(place.read("app.digest").len(), 32);
    place.stdout(&format!("attach {how} --signature app.sig -o same.bin"));
    assert_eq!(place.read("same.bin"), place.read("app.signed.bin"));
}

#[test]
fn an_image_is_encrypted_alike_by_service_and_client_and_opens_for_its_device() {
    let place = Place::start();
    place.json("product create cam --vendor example.com --class c --format mcuboot --component app=512KiB");
    place.write("app.bin", &bytes(60_000, 9));
    let directory = place.path(".");
    for name in ["device", "other"] {
        let make = format!("ecparam -name prime256v1 -genkey -noout -out {name}.ec");
        assert!(openssl(&directory, &make));
        assert!(openssl(&directory, &format!("pkcs8 -topk8 -nocrypt -in {name}.ec -out {name}.key")));
        assert!(openssl(&directory, &format!("pkey -in {name}.key -pubout -out {name}.pub")));
    }
    let how = "app.bin --version 1.4.0 --epoch 1 --param header-size=512 --param slot-size=0x80000 \
               --param pad-header=true --param encrypt=@device.pub --param encrypt-keylen=256";
    let signed = place.json(&format!("sign {how} --product cam -o app.enc.bin --signature app.sig"));
    let told = Command::new("sha256sum").arg(place.path("app.enc.bin")).output().unwrap();
    let kept = text(&signed["signature"], "signed");
    assert!(String::from_utf8(told.stdout).unwrap().starts_with(kept), "the client's file is the service's");
    let keys = place.json("keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["purpose"] == "artifact").unwrap();
    place.write("key.pem", text(key, "public").as_bytes());
    place.stdout(&format!("attach {how} --format mcuboot --public key.pem --signature app.sig -o same.bin"));
    assert_eq!(place.read("same.bin"), place.read("app.enc.bin"));

    assert!(place.stdout("inspect app.enc.bin").contains("encrypted-aes256"));
    let opened = place.stdout("inspect app.enc.bin --decrypt-key device.key");
    assert!(opened.contains("the payload is in the clear"), "{opened}");
    place.stdout("verify --public key.pem app.enc.bin --decrypt-key device.key");
    // Nothing that is asked for is left aside.
    for more in ["--param padding=pkcs1", "--revocation key.pem", "--sequence 7", "--owner key.pem"] {
        place.fails(&format!("verify --public key.pem app.enc.bin --decrypt-key device.key {more}"), 2);
    }
    let told = place.fails("verify --public key.pem app.enc.bin", 3);
    assert!(told.contains("is encrypted"), "{told}");
    let told = place.fails("verify --public key.pem app.enc.bin --decrypt-key other.key", 3);
    assert!(told.contains("does not open with this key"), "{told}");
    let told = place.fails("verify --public key.pem app.enc.bin --decrypt-key device.pub", 2);
    assert!(told.contains("not a private key"), "{told}");
    let mut spoilt = place.read("app.enc.bin");
    spoilt[1000] ^= 1;
    place.write("spoilt.bin", &spoilt);
    place.fails("verify --public key.pem spoilt.bin --decrypt-key device.key", 3);
}

#[test]
fn a_key_that_openssl_holds_signs_what_was_derived_and_nothing_else_is_attached() {
    let directory = tempfile::tempdir().unwrap();
    let run = |line: &str| {
        Command::new(env!("CARGO_BIN_EXE_firmseal"))
            .args(line.split_whitespace())
            .current_dir(directory.path())
            .output()
            .expect("the program runs")
    };
    std::fs::write(directory.path().join("app.bin"), bytes(50_000, 3)).unwrap();
    let how = |key: &str| {
        format!(
            "app.bin --format mcuboot --public {key}.pub --version 2.0.0 --epoch 3 --param header-size=32 \
             --param slot-size=0x20000 --param pad-header=true"
        )
    };
    for (key, make, sign) in [
        ("p256", "-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-pkeyopt digest:sha256"),
        ("p384", "-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-pkeyopt digest:sha384"),
        (
            "rsa",
            "-algorithm RSA -pkeyopt rsa_keygen_bits:3072",
            "-pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32",
        ),
        ("ed25519", "-algorithm ED25519", "-rawin"),
    ] {
        let openssl = |line: String| assert!(openssl(directory.path(), &line), "{line}");
        openssl(format!("genpkey {make} -out {key}.key"));
        openssl(format!("pkey -in {key}.key -pubout -out {key}.pub"));
        let told = run(&format!("digest {} -o {key}.digest", how(key)));
        assert!(told.status.success(), "{told:?}");
        openssl(format!("pkeyutl -sign -inkey {key}.key {sign} -in {key}.digest -out {key}.sig"));
        let told = run(&format!("attach {} --signature {key}.sig -o {key}.bin", how(key)));
        assert!(told.status.success(), "{told:?}");
        let told = run(&format!("--json inspect {key}.bin"));
        assert!(told.status.success(), "{told:?}");
        // Over another version, or by another key: nothing is written.
        let other =
            run(&format!("attach {} --signature {key}.sig -o bad.bin", how(key).replace("2.0.0", "2.0.1")));
        assert_eq!(other.status.code(), Some(3), "{other:?}");
        assert!(!directory.path().join("bad.bin").exists());
    }
    let other = run(&format!("attach {} --signature p384.sig -o bad.bin", how("p256")));
    assert_eq!(other.status.code(), Some(3), "{other:?}");
    let raw = run("attach app.bin --public p256.pub --signature p256.sig -o bad.bin");
    assert_eq!(raw.status.code(), Some(3), "it is over something else: {raw:?}");
}

#[test]
fn a_pipeline_needs_variables_and_no_files_of_ours() {
    let place = Place::start();
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    place.write("firmware.bin", &bytes(20_000, 7));
    let token = String::from_utf8(place.read("place/operator.token")).unwrap();
    let server = format!("https://127.0.0.1:{}", place.operator_port());
    let authority = ("FIRMSEAL_AUTHORITY", "place/tls/server.pem");
    let (server, held) = (("FIRMSEAL_SERVER", server.as_str()), ("FIRMSEAL_TOKEN", token.trim()));
    let run = |variables: &[(&str, &str)]| place.run_in_pipeline(&format!("--json {RAW}"), variables);
    let signed = run(&[server, authority, held]);
    assert!(signed.status.success(), "{signed:?}");
    let signed: Value = serde_json::from_slice(&signed.stdout).unwrap();
    assert_eq!(text(&signed, "state"), "signed");
    let flags = format!("{RAW} --server {} --authority {}", server.1, authority.1);
    assert!(place.run_in_pipeline(&flags, &[held]).status.success());
    assert!(
        place.run_in_pipeline(&flags, &[("FIRMSEAL_TOKEN_FILE", "place/operator.token")]).status.success()
    );
    for (variables, code, why) in [
        (&[server, held][..], 2, "FIRMSEAL_AUTHORITY"),
        (&[server, authority], 5, "no token to show"),
        (&[server, authority, ("FIRMSEAL_TOKEN", "fsop_wrong")], 5, "error"),
        (
            &[
                server,
                authority,
                ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://localhost:1/x"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret-of-the-job"),
            ],
            2,
            "for whom",
        ),
        (
            &[
                server,
                authority,
                ("ACTIONS_ID_TOKEN_REQUEST_URL", "http://localhost/x"),
                ("FIRMSEAL_AUDIENCE", "x"),
                ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret-of-the-job"),
            ],
            1,
            "not an https:// address",
        ),
    ] {
        let refused = run(variables);
        let told = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(code), "{told}");
        assert!(
            told.contains(why) && !told.contains("secret-of-the-job") && !told.contains("fsop_wrong"),
            "{told}"
        );
    }
}
