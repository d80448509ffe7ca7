//! Access from the command line: tokens, certificates, and files that others
//! may read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod place;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use place::Place;

fn text<'a>(value: &'a serde_json::Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

#[test]
fn an_enrolment_token_is_listed_and_revoked() {
    let place = Place::start();
    place.json("product create gw --vendor example.com --class gw-1 --component main=1MiB");
    let token = place.json("device token create --product gw --uses 3 --label site=berlin");
    let listed = place.json("device token list");
    let [only] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
    assert_eq!((text(only, "product"), only["uses"].as_u64()), ("gw", Some(3)));
    let page = place.stdout("device token list");
    assert!(page.contains("site=berlin") && !page.contains(text(&token, "token")), "{page}");
    let ended = place.json(&format!("device token revoke {}", text(only, "id")));
    assert!(text(&ended, "expires") < text(&token, "expires"), "{ended}");
    place.fails(&format!("device token revoke {}", "0".repeat(64)), 4);
}

#[test]
fn who_lost_every_token_makes_one_in_the_place() {
    let mut place = Place::start();
    let create = "token create rescue --role admin --role auditor --place place";
    let busy = place.fails(create, 8);
    assert!(busy.contains("in use"), "while the server runs: {busy}");
    place.stop();
    place.fails("token create rescue --role admin --place nowhere", 4);
    let made = place.json(create);
    assert!(made["expires"].is_string(), "{made}");
    place.write_private("rescue.token", text(&made, "secret").as_bytes());
    let place = place.again();
    let profile = place.profile_with(&[("token", "rescue.token")]);
    let listed = place.json(&format!("--profile {profile} token list"));
    let first = listed.as_array().unwrap().iter().find(|token| token["name"] == "admin").unwrap();
    assert!(first["expires"].is_string(), "the first token expires too: {first}");
}

#[test]
fn files_that_others_may_read_are_not_used() {
    let place = Place::start();
    let token = place.path("place/operator.token");
    for mode in [0o644, 0o640, 0o620] {
        std::fs::set_permissions(&token, PermissionsExt::from_mode(mode)).unwrap();
        let refused = place.fails("product list", 8);
        assert!(refused.contains("operator.token") && refused.contains("chmod 600"), "{refused}");
    }
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).unwrap();
    place.stdout("product list");
}

#[test]
fn an_operator_with_a_certificate_needs_no_token() {
    let mut place = Place::start();
    place.stop();
    let openssl = |line: &str| {
        let run = Command::new("openssl").args(line.split(' ')).current_dir(place.path("")).output().unwrap();
        assert!(run.status.success(), "{line}: {run:?}");
    };
    openssl("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ci.key");
    openssl("req -x509 -new -key ci.key -subj /CN=ci.example.com -days 30 -out ci.pem");
    let settings = String::from_utf8(place.read("place/server.toml")).unwrap();
    let demand = "serves = \"operator\"\nvalidate_client_certificates = true\nauthority = \"../ci.pem\"";
    let operator = "[[operator]]\nname = \"ci.example.com\"\nroles = [\"auditor\"]\n\n[device_ca]";
    let settings = settings.replace("serves = \"operator\"", demand).replace("[device_ca]", operator);
    place.write("place/server.toml", settings.as_bytes());
    let place = place.again();

    let profile = |name: &str, extra: &str| {
        let port = place.operator_port();
        let text =
            format!("server = \"https://127.0.0.1:{port}\"\nauthority = \"place/tls/server.pem\"\n{extra}\n");
        place.write(name, text.as_bytes());
    };
    profile("ci.toml", "certificate = \"ci.pem\"\nkey = \"ci.key\"");
    assert_eq!(place.json("--profile ci.toml product list"), serde_json::json!([]));
    let create = "product create gw --vendor example.com --class gw-1 --component main=1MiB";
    place.fails(&format!("--profile ci.toml {create}"), 5);
    profile("both.toml", "certificate = \"ci.pem\"\nkey = \"ci.key\"\ntoken = \"place/operator.token\"");
    place.json(&format!("--profile both.toml {create}"));
    profile("half.toml", "certificate = \"ci.pem\"");
    place.fails("--profile half.toml product list", 2);
    profile("none.toml", "");
    place.fails("--profile none.toml product list", 2);
    std::fs::set_permissions(place.path("ci.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let refused = place.fails("--profile ci.toml product list", 8);
    assert!(refused.contains("ci.key"), "{refused}");
    // Without a certificate there is no connection.
    place.fails("product list", 5);
}

#[test]
fn a_server_leaves_no_core() {
    let place = Place::start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", place.server_id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{core}");
}

#[test]
fn init_listens_where_its_names_are() {
    let directory = tempfile::tempdir().unwrap();
    let init = |name: &str, arguments: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_firmseal"))
            .args(["init", name])
            .args(arguments)
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(run.status.success(), "{run:?}");
        let settings = std::fs::read_to_string(directory.path().join(name).join("server.toml")).unwrap();
        let addresses: Vec<String> = settings
            .lines()
            .filter_map(|line| line.strip_prefix("address = "))
            .map(|address| address.trim_matches('"').to_owned())
            .collect();
        (addresses, String::from_utf8(run.stdout).unwrap(), String::from_utf8(run.stderr).unwrap())
    };
    let (addresses, said, _) = init("here", &[]);
    assert_eq!(addresses, ["127.0.0.1"; 3]);
    assert!(said.contains("valid until 2") && said.contains("token create"), "{said}");
    let (addresses, said, warned) =
        init("there", &["--host", "updates.example.com", "--token-valid-for", "never"]);
    assert_eq!(addresses, ["0.0.0.0", "0.0.0.0", "127.0.0.1"], "the public listener stays closed");
    assert!(said.contains("0.0.0.0") && warned.contains("never expires"), "{said}{warned}");
    let (addresses, ..) = init("chosen", &["--host", "a.example.com", "--address", "127.0.0.2"]);
    assert_eq!(addresses, ["127.0.0.2", "127.0.0.2", "127.0.0.1"]);
}
