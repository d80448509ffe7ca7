//! What rules come to, whatever the rules are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_fleet::{CallerKind, Environment, KeyPurpose, Priority, Role};
use firmseal_manifest::{PolicyDocument, PolicyFile};
use firmseal_policy::{CedarPolicy, Examples, NUMBER};
use firmseal_sign::{Action, Policy, PolicyError, Previous, Question, Verdict};
use proptest::prelude::*;

fn policy(files: &[String]) -> CedarPolicy {
    let files = files.iter().enumerate();
    let files = files.map(|(n, text)| PolicyFile { name: format!("{n:03}"), text: text.clone() }).collect();
    CedarPolicy::load(&PolicyDocument::new(NUMBER, files).unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

fn question(overlay: &str) -> Question {
    let text = format!("[[case]]\nname = \"q\"\nexpect = \"permit\"\nquestion = {overlay}\n");
    Examples::read(&text).unwrap().cases.remove(0).question
}

const CONDITIONS: [&str; 8] = [
    "context.channel == \"beta\"",
    "context.key.blind",
    "context.epoch > 2",
    "context.artifact has debug && context.artifact.debug",
    "context.evidence has sbom",
    "principal in Team::\"firmware\"",
    "context.hour >= 8 && context.hour < 17",
    "context.approvals < 1",
];

#[derive(Clone, Debug)]
struct Rule {
    head: &'static str,
    condition: usize,
    unless: bool,
}

impl Rule {
    fn text(&self, name: &str) -> String {
        let word = if self.unless { "unless" } else { "when" };
        format!(
            "@id(\"{name}\") @reason(\"of {name}\") {} (principal, action, resource) {word} {{ {} }};\n",
            self.head, CONDITIONS[self.condition]
        )
    }
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let heads = ["permit", "forbid", "@approvals(\"2\") forbid", "@approvals(\"3\") forbid", "@hold forbid"];
    let rule = (prop::sample::select(heads.to_vec()), 0..CONDITIONS.len(), any::<bool>());
    prop::collection::vec(rule.prop_map(|(head, condition, unless)| Rule { head, condition, unless }), 0..8)
}

fn questions() -> impl Strategy<Value = Question> {
    let parts = (any::<[bool; 4]>(), 1_u64..5, 0_u32..4, 0_u32..24);
    parts.prop_map(|([blind, debug, beta, released], epoch, approvals, hour)| {
        question(&format!(
            "{{ channel = \"{}\", epoch = {epoch}, approvals = {approvals}, released = {released}, \
             now = \"2026-11-18T{hour:02}:00:00Z\", key = {{ blind = {blind} }}, artifact = {{ debug = {debug} }} }}",
            if beta { "beta" } else { "stable" }
        ))
    })
}

fn texts(rules: &[Rule]) -> Vec<String> {
    let mut texts: Vec<_> = rules.iter().enumerate().map(|(n, rule)| rule.text(&format!("r{n}"))).collect();
    // Something has to be permitted, or it is no policy.
    texts.push(
        "@id(\"p\") @reason(\"p\") permit (principal in Team::\"nobody\", action, resource);".to_owned(),
    );
    texts
}

/// From the widest to the strictest.
fn rank(verdict: &Verdict) -> (u8, u32) {
    match verdict {
        Verdict::Permit => (0, 0),
        Verdict::Approvals { need, .. } => (1, *need),
        Verdict::Hold { .. } => (2, 0),
        Verdict::Refuse { .. } => (3, 0),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_forbid_more_never_permits_more(rules in rules(), more in rules(), question in questions()) {
        let few = policy(&texts(&rules)).decide(&question).unwrap();
        let mut all = rules.clone();
        all.extend(more.into_iter().filter(|rule| rule.head != "permit"));
        let many = policy(&texts(&all)).decide(&question).unwrap();
        prop_assert!(rank(&many) >= rank(&few), "{:?} became {:?}", few, many);
    }

    #[test]
    fn order_and_files_do_not_matter(rules in rules(), question in questions()) {
        let texts = texts(&rules);
        let told = policy(&texts).decide(&question).unwrap();
        let backwards: Vec<_> = texts.iter().rev().cloned().collect();
        prop_assert_eq!(&policy(&backwards).decide(&question).unwrap(), &told);
        prop_assert_eq!(&policy(&[texts.concat()]).decide(&question).unwrap(), &told);
    }

    #[test]
    fn an_artifact_or_a_key_more_never_permits_more(rules in rules(), one in questions(), two in questions()) {
        let policy = policy(&texts(&rules));
        let alone = policy.decide(&one).unwrap();
        let mut both = one.clone();
        both.keys.extend(two.keys.clone());
        both.artifacts.extend(two.artifacts.clone());
        prop_assert!(rank(&policy.decide(&both).unwrap()) >= rank(&alone));
    }

    #[test]
    fn an_approval_more_never_permits_less(rules in rules(), question in questions()) {
        // Of rules that do not count approvals by themselves.
        let rules: Vec<_> = rules.into_iter().filter(|rule| rule.condition != 7).collect();
        let policy = policy(&texts(&rules));
        let told = policy.decide(&question).unwrap();
        let more = policy.decide(&Question { approvals: question.approvals + 1, ..question }).unwrap();
        prop_assert!(rank(&more) <= rank(&told), "{:?} became {:?}", told, more);
    }
}

#[test]
fn what_stands_in_the_way_is_named() {
    let open = "@id(\"p\") @reason(\"p\") permit (principal, action, resource);".to_owned();
    let rule = |head: &str, name: &str| {
        format!("@id(\"{name}\") @reason(\"of {name}\") {head} forbid (principal, action, resource);")
    };
    let told = |rules: &[String], overlay: &str| {
        let verdict =
            policy(&[vec![open.clone()], rules.to_vec()].concat()).decide(&question(overlay)).unwrap();
        serde_json::to_value(verdict).unwrap()
    };
    let (two, three) = (rule("@approvals(\"2\")", "two"), rule("@approvals(\"3\")", "three"));
    let (hold, never) = (rule("@hold", "look"), rule("", "never"));
    assert_eq!(told(&[], "{}")["verdict"], "permit");
    let both = told(&[two.clone(), three.clone()], "{ approvals = 1 }");
    assert_eq!((&both["need"], both["reasons"].as_array().unwrap().len()), (&3.into(), 2));
    let left = told(&[two.clone(), three.clone()], "{ approvals = 2 }");
    assert_eq!(left["reasons"][0]["rule"], "three");
    assert_eq!(told(&[two.clone(), hold.clone()], "{}")["verdict"], "hold");
    assert_eq!(told(&[two.clone(), hold.clone()], "{ released = true }")["verdict"], "approvals");
    let refused = told(&[two, hold, never], "{ released = true, approvals = 9 }");
    assert_eq!(refused["reasons"], serde_json::json!([{ "rule": "never", "why": "of never" }]));
}

/// Records from before questions had a priority are made again as what they
/// were judged as: ordinary ones.
#[test]
fn a_record_without_a_priority_is_an_ordinary_one() {
    let rule = "@id(\"e\") @reason(\"e\") forbid (principal, action, resource)\n\
                when { context.priority == Priority::\"emergency\" };\n\
                @id(\"p\") @reason(\"p\") permit (principal, action, resource);\n";
    let policy = policy(&[rule.to_owned()]);
    let mut asked = question("{ priority = \"emergency\" }");
    assert!(matches!(policy.decide(&asked), Ok(Verdict::Refuse { reasons }) if reasons[0].rule == "e"));
    asked.priority = None;
    let record = serde_json::to_value(&asked).unwrap();
    assert_eq!(record.get("priority"), None);
    let past: Question = serde_json::from_value(record).unwrap();
    assert_eq!((&past, policy.decide(&past)), (&asked, Ok(Verdict::Permit)));
}

/// Built as tests are, a question is held against the schema as well.
#[test]
fn every_question_fits_the_schema() {
    const KINDS: [CallerKind; 5] = [
        CallerKind::Person,
        CallerKind::Workload,
        CallerKind::Token,
        CallerKind::Certificate,
        CallerKind::Local,
    ];
    let policy = policy(&["@id(\"p\") @reason(\"p\") permit (principal, action, resource);".to_owned()]);
    let (full, parts) = (question("{}"), 10);
    for shape in 0..1_u32 << parts {
        let has = |part: u32| shape & 1 << part != 0;
        let mut asked = full.clone();
        let (artifact, facts) = (&mut asked.artifacts[0], &mut asked.evidence);
        let previous = Previous { version: asked.version.clone(), epoch: 1 };
        asked.previous = has(0).then_some(previous);
        asked.priority = Priority::ALL.get(shape as usize % 4).copied();
        asked.caller.team = asked.caller.team.filter(|_| has(1));
        artifact.version = has(2).then(|| "1.2.3".to_owned());
        artifact.epoch = has(3).then_some(1);
        artifact.target = has(4).then(|| "board".to_owned());
        artifact.debug = has(5).then_some(false);
        artifact.addresses = if has(6) { vec![0, 0x8000] } else { Vec::new() };
        facts.sbom = facts.sbom.take().filter(|_| has(7));
        facts.reproduced = has(8).then_some(true);
        facts.evaluations[0].until = facts.evaluations[0].until.filter(|_| has(8));
        if !has(9) {
            (facts.provenance, facts.tests) = (Vec::new(), Vec::new());
            (facts.scans, facts.evaluations) = (Vec::new(), Vec::new());
            (asked.anomalies, asked.caller.claims) = (vec!["rate".to_owned()], Default::default());
        }
        assert_eq!(policy.decide(&asked), Ok(Verdict::Permit), "shape {shape:#b}");
    }
    for (action, kind) in [Action::SignArtifact, Action::SignRelease]
        .into_iter()
        .flat_map(|action| KINDS.into_iter().map(move |kind| (action, kind)))
    {
        let mut asked = full.clone();
        (asked.action, asked.caller.kind) = (action, kind);
        asked.caller.roles = Role::ALL.into_iter().collect();
        for purpose in [KeyPurpose::Release, KeyPurpose::Artifact] {
            for environment in [Environment::Test, Environment::Production] {
                asked.environment = environment;
                (asked.keys[0].purpose, asked.keys[0].environment) = (purpose, environment);
                assert_eq!(policy.decide(&asked), Ok(Verdict::Permit), "{action:?}, {kind:?}");
            }
        }
    }
}

/// Entities are kept from one question to the next: what differs anywhere in
/// them is somebody else.
#[test]
fn nobody_is_taken_for_whoever_asked_before() {
    let policy =
        policy(&["@id(\"p\") @reason(\"p\") permit (principal in Team::\"firmware\", action, resource)\n\
         when { principal in Role::\"signer\" && principal.name == \"ci\"\n\
           && principal.kind == Kind::\"workload\" && resource == Product::\"gateway\"\n\
           && principal.hasTag(\"ref\") && principal.getTag(\"ref\") == \"refs/heads/main\"\n\
           && resource.environment == Environment::\"production\" };"
            .to_owned()]);
    let mut good = question("{}");
    good.caller.roles = [Role::Signer].into_iter().collect();
    (good.caller.name, good.caller.kind) = ("ci".to_owned(), CallerKind::Workload);
    good.caller.team = Some("firmware".to_owned());
    good.caller.claims = [("ref".to_owned(), "refs/heads/main".to_owned())].into_iter().collect();
    (good.product, good.environment) = ("gateway".parse().unwrap(), Environment::Production);
    let changes: [fn(&mut Question); 8] = [
        |asked| asked.caller.name = "other".to_owned(),
        |asked| asked.caller.kind = CallerKind::Token,
        |asked| asked.caller.team = None,
        |asked| asked.caller.roles = [Role::Auditor].into_iter().collect(),
        |asked| asked.caller.claims.clear(),
        |asked| drop(asked.caller.claims.insert("ref".to_owned(), "refs/heads/mine".to_owned())),
        |asked| asked.product = "sensor".parse().unwrap(),
        |asked| asked.environment = Environment::Test,
    ];
    for change in changes {
        assert_eq!(policy.decide(&good), Ok(Verdict::Permit));
        let mut other = good.clone();
        change(&mut other);
        assert!(matches!(policy.decide(&other), Ok(Verdict::Refuse { .. })), "{other:?}");
    }
    // More callers than are kept.
    for number in 0..40 {
        let mut other = good.clone();
        other.caller.name = format!("job {number}");
        assert!(matches!(policy.decide(&other), Ok(Verdict::Refuse { .. })));
    }
    assert_eq!(policy.decide(&good), Ok(Verdict::Permit));
}

#[test]
fn approvals_do_not_replace_a_permit() {
    let policy =
        policy(&["@id(\"p\") @reason(\"p\") permit (principal in Team::\"nobody\", action, resource);\n\
         @id(\"two\") @reason(\"two\") @approvals(\"2\") forbid (principal, action, resource);"
            .to_owned()]);
    for approvals in [0, 2] {
        let verdict = policy.decide(&question(&format!("{{ approvals = {approvals} }}"))).unwrap();
        let Verdict::Refuse { reasons } = verdict else { panic!("{verdict:?}") };
        assert_eq!(reasons[0].rule, "no-permit");
    }
}

#[test]
fn each_artifact_with_each_key_needs_a_permit() {
    let policy = policy(&["@id(\"p\") @reason(\"p\") permit (principal, action, resource)\n\
         when { context.artifact.component == \"app\" && context.key.name == \"release\" };"
        .to_owned()]);
    let good = question("{}");
    assert_eq!(policy.decide(&good), Ok(Verdict::Permit));
    let mut other = good.clone();
    other
        .artifacts
        .push(firmseal_sign::ArtifactFacts { component: "fs".to_owned(), ..good.artifacts[0].clone() });
    assert_ne!(policy.decide(&other), Ok(Verdict::Permit), "a component that nothing permits");
    let mut other = good.clone();
    other.keys.push(firmseal_sign::KeyFacts { name: "own".to_owned(), ..good.keys[0].clone() });
    assert_ne!(policy.decide(&other), Ok(Verdict::Permit), "a key that nothing permits");
}

#[test]
fn provenance_counts_for_the_file_that_it_is_about() {
    let policy = policy(&["@id(\"p\") @reason(\"p\") permit (principal, action, resource)\n\
         when { context.evidence.builders.contains(\"https://ci.example.com/builder\") };"
        .to_owned()]);
    let good = question("{}");
    assert_eq!(policy.decide(&good), Ok(Verdict::Permit));
    let mut other = good.clone();
    let digest = firmseal_manifest::ArtifactId(firmseal_manifest::Digest([7; 32]));
    other.artifacts.push(firmseal_sign::ArtifactFacts { digest, ..good.artifacts[0].clone() });
    assert!(matches!(policy.decide(&other), Ok(Verdict::Refuse { .. })), "the other one is nobody's");
}

#[test]
fn scans_count_for_the_files_and_the_request_that_they_are_about() {
    let policy = policy(&["@id(\"p\") @reason(\"p\") permit (principal, action, resource)\n\
         when { context.evidence.scans.hasTag(\"https://www.clamav.net\")\n\
           && context.evidence.evaluations.hasTag(\"https://lab.example.com\") };"
        .to_owned()]);
    let good = question("{}");
    assert_eq!(policy.decide(&good), Ok(Verdict::Permit));
    // The same file twice is one that was scanned.
    let mut same = good.clone();
    same.artifacts
        .push(firmseal_sign::ArtifactFacts { component: "b".to_owned(), ..good.artifacts[0].clone() });
    assert_eq!(policy.decide(&same), Ok(Verdict::Permit));
    let digest = firmseal_manifest::ArtifactId(firmseal_manifest::Digest([7; 32]));
    same.artifacts[1].digest = digest;
    assert!(matches!(policy.decide(&same), Ok(Verdict::Refuse { .. })), "the other one was not scanned");
    same.evidence.scans[0].artifacts.push(digest);
    assert!(matches!(policy.decide(&same), Ok(Verdict::Refuse { .. })), "and not evaluated");
    same.evidence.evaluations[0].artifacts.push(digest);
    assert_eq!(policy.decide(&same), Ok(Verdict::Permit));
    // What one request brought is not there for the next one of the same
    // caller, for the same file.
    let mut next = good.clone();
    next.evidence.scans.clear();
    assert!(matches!(policy.decide(&next), Ok(Verdict::Refuse { .. })));
}

#[test]
fn what_cannot_be_evaluated_permits_nothing() {
    let open = "@id(\"p\") @reason(\"p\") permit (principal, action, resource);\n";
    let overflows = "@id(\"sum\") @reason(\"x\") forbid (principal, action, resource)\n\
                     when { context.artifact.size * 4611686018427387904 > 0 };";
    // Cedar would leave the forbid out and permit.
    let error = policy(&[format!("{open}{overflows}")]).decide(&question("{}")).unwrap_err();
    assert!(error.0.contains("sum") && error.0.contains("overflow"), "{error}");
    let overflows = overflows.replace("forbid", "permit").replace("sum", "other");
    let told = policy(&[format!("{open}{overflows}")]).decide(&question("{}"));
    assert!(told.is_err(), "a permit that fails, too: {told:?}");

    let policy = policy(&[open.to_owned()]);
    let asked = |change: fn(&mut Question)| {
        let mut question = question("{}");
        change(&mut question);
        policy.decide(&question)
    };
    assert_eq!(asked(|_| {}), Ok(Verdict::Permit));
    type Change = fn(&mut Question);
    let bad: [(&str, Change); 9] = [
        ("too many scans", |q| q.evidence.scans = vec![q.evidence.scans[0].clone(); 1025]),
        ("too many levels", |q| q.evidence.evaluations[0].passed = vec!["x".to_owned(); 1024]),
        ("no artifact", |q| q.artifacts.clear()),
        ("no key", |q| q.keys.clear()),
        ("too many", |q| q.keys = vec![q.keys[0].clone(); 300]),
        ("an epoch beyond numbers", |q| q.epoch = u64::MAX),
        ("a size beyond numbers", |q| q.artifacts[0].size = 1 << 63),
        ("an address beyond numbers", |q| q.artifacts[0].addresses = vec![u64::MAX]),
        ("a long claim", |q| {
            q.caller.claims.insert("x".to_owned(), "y".repeat(5000));
        }),
    ];
    for (name, change) in bad {
        assert!(matches!(asked(change), Err(PolicyError(_))), "{name}");
    }
}

#[test]
fn names_of_strangers_are_names_and_nothing_else() {
    let policy = policy(&[
        "@id(\"p\") @reason(\"p\") permit (principal == Caller::\"ci\", action, resource);".to_owned(),
    ]);
    for name in ["ci\"", "\", resource); permit (principal", "Role::\"admin\"", "", "ci\0", "ci\n"] {
        let mut question = question("{}");
        question.caller.name = name.to_owned();
        assert!(matches!(policy.decide(&question), Ok(Verdict::Refuse { .. })), "{name:?}");
    }
    let mut question = question("{}");
    question.caller.name = "ci".to_owned();
    assert_eq!(policy.decide(&question), Ok(Verdict::Permit));
}

#[test]
fn the_schema_knows_each_role_and_each_kind_of_caller() {
    use firmseal_fleet::{CallerKind, Role};
    let kinds = [
        CallerKind::Person,
        CallerKind::Workload,
        CallerKind::Token,
        CallerKind::Certificate,
        CallerKind::Local,
    ];
    let roles = Role::ALL.iter().map(|role| format!("principal in Role::\"{}\"", role.as_str()));
    let kinds = kinds.iter().map(|kind| format!("principal.kind == Kind::\"{}\"", kind.as_str()));
    for condition in roles.chain(kinds) {
        let rule = "@id(\"p\") @reason(\"p\") permit (principal, action, resource)";
        policy(&[format!("{rule} when {{ {condition} }};")]);
    }
}
