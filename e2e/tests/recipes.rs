//! What people copy: the settings and steps in deploy/ for GitHub and GitLab,
//! run as they stand there against a server that has their settings, and the
//! examples of the typed client.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use firmseal_e2e::server::init;
use firmseal_e2e::{Server, Shell, binaries};
use firmseal_testkit::identity::Provider;
use serde_json::{Value, json};

fn recipe(name: &str) -> String {
    let path = binaries::workspace().join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The shell text of a step: what stands, further in, below a line that ends
/// with `|`.
fn step(recipe: &str, marker: &str) -> String {
    let mut lines = recipe.lines().skip_while(|line| line.trim() != marker);
    let marker = lines.next().unwrap_or_else(|| panic!("no step `{marker}`"));
    let indent = |line: &str| line.len() - line.trim_start().len();
    let body: Vec<&str> =
        lines.take_while(|line| line.trim().is_empty() || indent(line) > indent(marker)).collect();
    let least = body.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min().unwrap();
    body.iter().map(|line| format!("{}\n", line.get(least..).unwrap_or_default())).collect()
}

/// A server with the settings of a recipe, whose provider is ours.
fn serve(t: &Shell, recipe_settings: &str, issuer: &str, provider: &Provider) -> Server {
    t.write("provider.pem", provider.authority());
    let ports = init(t, "place");
    let settings = recipe(recipe_settings);
    assert!(settings.contains(issuer), "{recipe_settings} is about another provider");
    let settings = settings
        .replace(issuer, provider.url())
        .replace("/etc/ssl/certs/ca-certificates.crt", "../provider.pem");
    let own = String::from_utf8(t.read("place/server.toml")).unwrap();
    t.write("place/server.toml", format!("{own}\n{settings}"));
    let mut server = Server::in_place(t, "place", ports);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=16MiB");
    t.write("firmware.bin", vec![7; 70_000]);
    server
}

/// The claims of a job whose provider's clock is ahead by as much as it may
/// be: tokens from before the end of that time after a start may have been
/// used before it, and no test waits for half a minute; two seconds do.
fn claims(provider: &Provider, subject: &str, own: Value) -> Value {
    std::thread::sleep(Duration::from_secs(2));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({ "iss": provider.url(), "sub": subject, "iat": now + 29, "exp": now + 300 });
    for (name, value) in own.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// Runs a step as a runner does: bash, with the program in its path and no
/// profile of ours.
fn run(t: &Shell, script: &str, variables: &BTreeMap<String, String>) -> firmseal_e2e::Ran {
    t.write("step.sh", script);
    let path = std::env::var("PATH").unwrap();
    let own = binaries::firmseal().parent().unwrap().display().to_string();
    let shell = variables
        .iter()
        .fold(Shell::at(&t.path("")).with("PATH", format!("{own}:{path}")), |shell, (name, value)| {
            shell.with(name, value)
        });
    shell.run("env -u FIRMSEAL_PROFILE bash -e step.sh")
}

/// What a runner sets for every step.
fn github(t: &Shell, server: &Server, provider: &Provider) -> BTreeMap<String, String> {
    provider.runs(claims(
        provider,
        "repo:acme/gateway:environment:release",
        json!({
            "repository": "acme/gateway", "repository_id": "123456789", "ref": "refs/tags/v1.0.0",
            "event_name": "push", "environment": "release", "sha": "abc123", "actor": "ann", "run_id": "4711",
            "job_workflow_ref": "acme/gateway/.github/workflows/release.yml@refs/tags/v1.0.0",
        }),
    ));
    let file = |name: &str| t.path(name).display().to_string();
    [
        ("ACTIONS_ID_TOKEN_REQUEST_URL", provider.job_url()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "the runner's own".to_owned()),
        ("SSL_CERT_FILE", file("provider.pem")),
        ("GITHUB_RUN_ID", "4711".to_owned()),
        ("GITHUB_SHA", "abc123".to_owned()),
        ("GITHUB_OUTPUT", file("output")),
        ("RUNNER_TEMP", file("temp")),
        ("FIRMSEAL_SERVER", server.operators()),
        ("FIRMSEAL_AUTHORITY", "place/tls/server.pem".to_owned()),
        ("FIRMSEAL_AUDIENCE", "firmseal.example.com".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The action's inputs with their defaults, and the variables that its step
/// gets from them.
struct Action {
    defaults: BTreeMap<String, String>,
    variables: Vec<(String, String)>,
}

impl Action {
    fn read(text: &str) -> Action {
        let mut action = Action { defaults: BTreeMap::new(), variables: Vec::new() };
        for line in text.lines() {
            let Some((name, rest)) = line.trim().split_once(": ") else { continue };
            if let Some(input) = rest.strip_prefix("${{ inputs.").and_then(|rest| rest.strip_suffix(" }}")) {
                action.variables.push((name.to_owned(), input.to_owned()));
            } else if let Some(fields) = rest.strip_prefix("{ description:") {
                let default = fields.split_once("default: ").map(|(_, value)| value.trim_end_matches(" }"));
                let required = fields.contains("required: true");
                assert!(required != default.is_some(), "input {name} is required or has a default: {line}");
                action
                    .defaults
                    .insert(name.to_owned(), default.unwrap_or_default().trim_matches('"').to_owned());
            }
        }
        action
    }

    /// The variables of the step for these inputs.
    fn variables(&self, given: &[(&str, &str)]) -> BTreeMap<String, String> {
        for (name, _) in given {
            assert!(self.defaults.contains_key(*name), "the action has no input {name}");
        }
        let value = |input: &str| {
            let given = given.iter().find(|(name, _)| *name == input).map(|(_, value)| (*value).to_owned());
            given.or_else(|| self.defaults.get(input).cloned()).unwrap_or_else(|| panic!("no input {input}"))
        };
        self.variables.iter().map(|(name, input)| (name.clone(), value(input))).collect()
    }
}

#[test]
fn the_github_action_and_workflow_sign_with_the_tokens_of_their_job() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let provider = runtime.block_on(Provider::start());
    let t = Shell::new();
    let server = serve(&t, "github/server.toml", "https://token.actions.githubusercontent.com", &provider);
    std::fs::create_dir(t.path("temp")).unwrap();
    let platform = github(&t, &server, &provider);
    let text = recipe("github/action.yml");
    let (action, script) = (Action::read(&text), step(&text, "run: |"));
    let operators = server.operators();
    let sign = |more: &[(&str, &str)]| {
        let mut given = vec![
            ("file", "firmware.bin"),
            ("product", "gateway"),
            ("version", "v1.0.0"),
            ("epoch", "0"),
            ("server", operators.as_str()),
            ("authority", "place/tls/server.pem"),
            ("audience", "firmseal.example.com"),
        ];
        for (name, value) in more {
            given.retain(|(known, _)| known != name);
            given.push((*name, *value));
        }
        let mut variables = platform.clone();
        variables.extend(action.variables(&given));
        std::fs::write(t.path("output"), "").unwrap();
        let ran = run(&t, &script, &variables);
        (ran, String::from_utf8(t.read("output")).unwrap())
    };
    let (ran, output) = sign(&[("signature", "firmware.sig")]);
    ran.exits(0);
    assert!(output.contains("request=req-") && output.contains("state=signed"), "{output}");
    // A job that is run again: another token, the same request.
    let (ran, again) = sign(&[("signature", "again.sig")]);
    ran.exits(0);
    assert_eq!((again, t.read("again.sig")), (output, t.read("firmware.sig")));
    // A refusal ends the step, and names the request.
    let (ran, output) = sign(&[("signature", "never.sig"), ("epoch", "17")]);
    ran.exits(3).says("gate-epoch-ahead");
    assert!(output.contains("request=req-") && output.contains("state=refused"), "{output}");
    // Whatever stands in an input is no command, and no second option.
    for version in ["1.0.0; touch pwned", "$(touch pwned)", "1.0.0 --key other"] {
        let (ran, output) = sign(&[("version", version)]);
        ran.exits(2);
        assert_eq!(output, "", "{version}");
    }
    assert!(!t.path("pwned").exists() && !t.path("never.sig").exists());

    let mut variables = platform.clone();
    variables.insert("VERSION".to_owned(), "v1.0.0".to_owned());
    variables.insert("CI".to_owned(), "true".to_owned());
    run(&t, &step(&recipe("github/release.yml"), "run: |"), &variables).exits(0);
    let release: Value = serde_json::from_slice(&t.read("release.json")).unwrap();
    assert_eq!((&release["product"], &release["version"]), (&json!("gateway"), &json!("1.0.0")));
}

#[test]
fn the_gitlab_job_signs_with_its_id_token_and_no_copy_of_it_does() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let provider = runtime.block_on(Provider::start());
    let t = Shell::new();
    let server = serve(&t, "gitlab/server.toml", "https://gitlab.com", &provider);
    let text = recipe("gitlab/sign.yml");
    let script = step(&text, "- |");
    let mut own = claims(
        &provider,
        "project_path:acme/gateway:ref_type:tag:ref:v1.0.0",
        json!({
            "aud": "firmseal.example.com", "jti": "job-1",
            "project_path": "acme/gateway", "project_id": "4711", "ref_type": "tag", "ref": "v1.0.0",
            "ref_protected": "true", "environment": "release", "user_login": "ann", "sha": "abc123",
            "pipeline_id": "17", "ci_config_ref_uri": "gitlab.com/acme/gateway//.gitlab-ci.yml@refs/tags/v1.0.0",
        }),
    );
    let mut variables: BTreeMap<String, String> = [
        ("FIRMSEAL_FILE", "firmware.bin"),
        ("FIRMSEAL_PRODUCT", "gateway"),
        ("FIRMSEAL_OUTPUT", "firmware.signed.bin"),
        ("CI_COMMIT_TAG", "v1.0.0"),
        ("CI_PIPELINE_ID", "17"),
        ("CI_COMMIT_SHA", "abc123"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    // The job's own variables, as the template sets them.
    for line in text.lines().skip_while(|line| line.trim() != "variables:").skip(1) {
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        variables.insert(name.to_owned(), value.trim_matches('"').to_owned());
    }
    assert_eq!(variables["FIRMSEAL_CHANNEL"], "stable");
    variables.insert("FIRMSEAL_SERVER".to_owned(), server.operators());
    variables.insert("FIRMSEAL_AUTHORITY".to_owned(), "place/tls/server.pem".to_owned());
    variables.insert("FIRMSEAL_TOKEN".to_owned(), provider.token(&own));
    // The signature of a plain file stands beside it.
    let beside = script.replace("--output", "--signature");
    assert_ne!(beside, script);
    run(&t, &beside, &variables).exits(0);
    let signed: Value = serde_json::from_slice(&t.read("firmseal.json")).unwrap();
    assert_eq!(signed["state"], "signed");
    // A job that is run again begins in an empty directory.
    std::fs::remove_file(t.path("firmware.signed.bin")).unwrap();
    run(&t, &beside, &variables).exits(0);
    // Whoever finds the token in a log asks for something else in vain.
    t.write("evil.bin", vec![6; 70_000]);
    let mut stolen = variables.clone();
    stolen.insert("FIRMSEAL_FILE".to_owned(), "evil.bin".to_owned());
    stolen.insert("FIRMSEAL_OUTPUT".to_owned(), "evil.sig".to_owned());
    run(&t, &beside, &stolen).exits(5).says("each is good for one");
    assert!(!t.path("evil.sig").exists());
    // A branch of the same project is nobody here.
    std::fs::remove_file(t.path("firmware.signed.bin")).unwrap();
    (own["ref_type"], own["ref"], own["jti"]) = (json!("branch"), json!("main"), json!("job-2"));
    variables.insert("FIRMSEAL_TOKEN".to_owned(), provider.token(&own));
    run(&t, &beside, &variables).exits(5).says("no grant");
}

#[test]
fn the_examples_of_the_typed_client_do_what_they_say() {
    let t = Shell::new();
    let server = Server::new(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=16MiB");
    let token = String::from_utf8(t.read("place/operator.token")).unwrap();
    let shell = Shell::at(&t.path(""))
        .with("FIRMSEAL_SERVER", server.operators())
        .with("FIRMSEAL_AUTHORITY", "place/tls/server.pem")
        .with("FIRMSEAL_TOKEN", token.trim());
    for name in ["one", "two", "three"] {
        t.write(&format!("{name}.bin"), name.repeat(3000));
    }
    let example = |name: &str, rest: &str| format!("{} {rest}", binaries::example(name).display());
    let sign = example("sign", "one.bin gateway 1.0.0");
    let first: Value = serde_json::from_str(&shell.ok(&sign).stdout).unwrap();
    let again: Value = serde_json::from_str(&shell.ok(&sign).stdout).unwrap();
    assert_eq!(first, again, "the same request");
    assert!(first["value"].is_string(), "{first}");
    shell.run(&example("sign", "one.bin nobody 1.0.0")).exits(1).says("nobody");

    let batch = |rest: &str| shell.run(&example("batch", rest));
    let told = batch("gateway 1.0.0 two.bin three.bin").exits(0).stdout;
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = lines.iter().map(|line| (&line["file"], &line["answer"]["state"])).collect();
    assert_eq!(states, [(&json!("two.bin"), &json!("signed")), (&json!("three.bin"), &json!("signed"))]);
    assert_eq!(batch("gateway 1.0.0 two.bin three.bin").exits(0).stdout, told, "the same batch");
    batch("nobody 1.0.0 two.bin").exits(1).says("nobody");
}
