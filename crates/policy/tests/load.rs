//! What is no policy, and what is said about it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_manifest::{PolicyDocument, PolicyFile};
use firmseal_policy::{CedarPolicy, LoadError, NUMBER, RULES_MAX};

fn load(text: &str) -> Result<CedarPolicy, LoadError> {
    let file = PolicyFile { name: "a.cedar".to_owned(), text: text.to_owned() };
    CedarPolicy::load(&PolicyDocument::new(NUMBER, vec![file]).unwrap())
}

const OPEN: &str = "@id(\"all\") @reason(\"everything\") permit (principal, action, resource);\n";

/// A permit, and a forbid under this condition.
fn when(condition: &str) -> Result<CedarPolicy, LoadError> {
    load(&format!(
        "{OPEN}@id(\"it\")\n@reason(\"because\")\nforbid (principal, action, resource)\nwhen {{ {condition} }};\n"
    ))
}

#[test]
fn what_is_wrong_is_said_with_file_line_and_rule() {
    let cases = [
        ("", "permits nothing at all"),
        ("permit (principal, action, resource);", "a.cedar:1: has no name"),
        ("\n\n@id(\"a\") permit (principal, action, resource);", "a.cedar:3: gives no reason"),
        ("@id(\"A b\") @reason(\"x\") permit (principal, action, resource);", "lower-case letters"),
        ("@id(\"no-permit\") @reason(\"x\") permit (principal, action, resource);", "use another name"),
        ("@id(\"a\") @reason(\"\") permit (principal, action, resource);", "`@reason` has 1 to"),
        ("@id(\"a\") @reason(\"\\u{1b}[2J\") permit (principal, action, resource);", "control characters"),
        (
            "@id(\"a\") @reason(\"x\") @aprovals(\"2\") forbid (principal, action, resource);",
            "`@aprovals` means",
        ),
        ("@id(\"a\") @reason(\"x\") @approvals(\"0\") forbid (principal, action, resource);", "from 1 to 16"),
        (
            "@id(\"a\") @reason(\"x\") @approvals(\"two\") forbid (principal, action, resource);",
            "from 1 to 16",
        ),
        ("@id(\"a\") @reason(\"x\") @approvals forbid (principal, action, resource);", "from 1 to 16"),
        (
            "@id(\"a\") @reason(\"x\") @approvals(\"2\") permit (principal, action, resource);",
            "belongs to a forbid",
        ),
        ("@id(\"a\") @reason(\"x\") @hold permit (principal, action, resource);", "belongs to a forbid"),
        ("@id(\"a\") @reason(\"x\") @hold(\"1\") forbid (principal, action, resource);", "takes no value"),
        (
            "@id(\"a\") @reason(\"x\") @hold @approvals(\"1\") forbid (principal, action, resource);",
            "exclude each other",
        ),
        ("@id(\"a\") @reason(\"x\") forbid (principal, action, resource);", "permits nothing at all"),
        ("@id(\"a\") @reason(\"x\") permit (principal == ?principal, action, resource);", "is a template"),
        ("@id(\"a\") @reason(\"x\") permit (principal, action, resource)\nwhen { 1 +* 2 };", "a.cedar:2: "),
        ("@id(\"a\") @reason(\"x\") permit (principal, action == Action::\"sing\", resource);", "rule `a`"),
        ("@id(\"a\") @reason(\"x\") permit (principal in Role::\"sginer\", action, resource);", "rule `a`"),
    ];
    for (text, said) in cases {
        let error = load(text).expect_err(text).to_string();
        assert!(error.contains(said), "{text}\n-> {error}");
        assert!(!error.contains('\u{1b}'), "{error:?}");
    }
    let twice = load(&format!("{OPEN}{OPEN}")).unwrap_err().to_string();
    assert_eq!(twice, "a.cedar:2: rule `all`: is there twice; each rule has a name of its own");
}

#[test]
fn conditions_are_validated_strictly() {
    let good = [
        "context.artifact has debug && context.artifact.debug",
        "context.epoch < 3 || context.key.blind",
        "principal.hasTag(\"ref\") && principal.getTag(\"ref\") like \"refs/heads/*\"",
        "context.now.toTime() > duration(\"18h\")",
        "context.evidence.provenance.contains({builder: \"b\", source: \"s\", commit: context.commit})",
    ];
    for condition in good {
        when(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
    }
    let bad = [
        // Misspelt.
        "context.artifact has debug && context.artifact.debgu",
        "context.chanel == \"stable\"",
        "resource.environment == Environment::\"prodution\"",
        "principal.kind == Kind::\"robot\"",
        "principal in Rolle::\"signer\"",
        // Not sure to be there: it would fail for some questions.
        "context.artifact.debug",
        "context.evidence.sbom.components > 0",
        "principal.getTag(\"ref\") == \"refs/heads/main\"",
        // Of another type.
        "context.epoch == \"3\"",
        "context.version == \"1.2.0\"",
        "context.key.purpose == \"release\"",
        "context.priority == \"emergency\"",
        "context.priority == Priority::\"urgent\"",
        "context.evidence.provenance.contains({builder: \"b\"})",
        "context.epoch",
        // Never true: it protects nobody.
        "false",
        "context.key.blind && false",
    ];
    for condition in bad {
        let error = when(condition).expect_err(condition).to_string();
        assert!(error.starts_with("a.cedar:"), "{condition}: {error}");
        assert!(error.contains(": rule `it`: "), "{condition}: {error}");
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let text = "@id(\"a\") @reason(\"x\") permit (principal, action, resource)\nwhen { context.chanel == \"a\" };\n\
                @id(\"b\") permit (principal, action, resource);\n\
                @id(\"c\") @reason(\"x\") permit (principal, action, resource)\nwhen { context.epoch == \"a\" };\n";
    let LoadError(problems) = load(text).unwrap_err();
    let mut told: Vec<_> = problems.iter().map(|problem| (problem.line, problem.rule.as_deref())).collect();
    told.dedup();
    assert_eq!(told, [(Some(2), Some("a")), (Some(3), None), (Some(5), Some("c"))]);
}

#[test]
fn no_text_is_too_much_for_it() {
    let nest = |open: &str, inner: &str, close: &str, count: usize| {
        when(&format!("{}{inner}{}", open.repeat(count), close.repeat(count)))
    };
    assert!(nest("(", "context.key.blind", ")", 20).is_ok());
    for count in [40, 500, 60_000] {
        assert!(nest("(", "context.key.blind", ")", count).is_err());
        assert!(nest("[", "", "]", count).is_err());
        assert!(
            nest(
                "if context.key.blind then context.key.blind else ",
                "context.key.blind",
                "",
                count.min(2_000)
            )
            .is_err()
        );
    }
    // Strings and comments open nothing.
    assert!(when("context.build == \"((((((((((((((((((((((((((((((((((((((((((((((((\"").is_ok());
    assert!(when(&format!("// {}\ncontext.key.blind", "(".repeat(60))).is_ok());
    // A comment ends where a line does, at either sign for it.
    let deep = format!("// \r {}context.key.blind{}", "(".repeat(60_000), ")".repeat(60_000));
    assert!(when(&deep).unwrap_err().to_string().contains("nests deeper"), "behind a comment");
    for (term, count) in [(" && context.key.blind", 350), (" || context.key.blind", 350)] {
        assert!(when(&format!("context.key.blind{}", term.repeat(count))).is_ok(), "{term}");
        assert!(when(&format!("context.key.blind{}", term.repeat(5_000))).is_err(), "{term}");
    }
    let _ = when(&format!("{}context.key.blind", "!".repeat(7_000)));
    let _ = when(&format!("context.epoch == {}1", "-".repeat(7_000)));
    let _ = when(&format!("context.epoch == 1{}", " + 1".repeat(1_900)));
    let _ = when(&format!("context{}", ".a".repeat(3_900)));
    let _ = when("\"");
    let _ = when("\"\\");
    let many: String = (0..=RULES_MAX)
        .map(|n| format!("@id(\"r{n}\") @reason(\"x\") permit (principal, action, resource);\n"))
        .collect();
    assert!(load(&many).unwrap_err().to_string().contains("more than 512 rules"));
}

#[test]
fn another_schema_is_not_guessed_at() {
    let file = PolicyFile { name: "a.cedar".to_owned(), text: OPEN.to_owned() };
    let document = PolicyDocument::new(NUMBER + 1, vec![file]).unwrap();
    let error = CedarPolicy::load(&document).unwrap_err().to_string();
    assert!(error.contains("schema 2; this version of firmseal reads 1"), "{error}");
}
