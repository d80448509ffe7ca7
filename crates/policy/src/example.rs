//! Examples: questions with the answers that a policy is meant to give.
//!
//! A file says only what matters to it. What it leaves out comes from a
//! plain question: a CI job of team `firmware` asks for version 1.2.0 of a
//! test product on `beta`, with everything in order.

use std::collections::BTreeSet;
use std::fmt;

use firmseal_sign::{Decision, Policy, PolicyError, Question, Reason, Verdict};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How the names of files with examples end.
pub const ENDINGS: [&str; 2] = [".test.toml", ".test.json"];
/// Most cases of a file.
const CASES_MAX: usize = 1000;

/// Examples of one file.
#[derive(Clone, PartialEq, Debug)]
pub struct Examples {
    /// One by one.
    pub cases: Vec<Case>,
}

/// A question, and what the policy is meant to say.
#[derive(Clone, PartialEq, Debug)]
pub struct Case {
    /// What it is about, for people.
    pub name: String,
    /// The question.
    pub question: Question,
    /// The answer.
    pub expected: Expected,
}

/// A kind of answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It may be signed.
    Permit,
    /// It may not.
    Refuse,
    /// It takes approvals.
    Approvals,
    /// It takes a person's look.
    Hold,
    /// The policy gives no verdict, so nothing is signed.
    Error,
}

/// What a policy is meant to say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// The kind of answer.
    pub answer: Answer,
    /// Exactly these rules stand in the way; any, where it is not said.
    pub rules: Option<BTreeSet<String>>,
    /// So many approvals are needed; any number, where it is not said.
    pub need: Option<u32>,
}

/// An answer that is not the one that was meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differs {
    /// What was meant.
    pub wanted: String,
    /// What the policy says.
    pub got: String,
}

/// Why a file holds no examples.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExampleError {
    /// Neither TOML nor JSON of the right shape.
    #[error("{0}")]
    Shape(String),
    /// A case says something that is no part of a question.
    #[error("case `{case}`: {what}")]
    Case {
        /// The case.
        case: String,
        /// What is wrong.
        what: String,
    },
    /// No cases, or too many.
    #[error("has {0} cases; a file has 1 to {CASES_MAX}")]
    Count(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// What all cases share.
    #[serde(default)]
    question: Map<String, Value>,
    #[serde(default, rename = "case")]
    cases: Vec<WrittenCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    name: String,
    expect: Answer,
    rules: Option<BTreeSet<String>>,
    need: Option<u32>,
    #[serde(default)]
    question: Map<String, Value>,
}

impl Examples {
    /// Whether a file is one of examples, by its name; all others of a policy
    /// hold rules.
    pub fn stand_in(name: &str) -> bool {
        ENDINGS.iter().any(|ending| name.ends_with(ending))
    }

    /// Reads a file, in TOML or JSON.
    pub fn read(text: &str) -> Result<Examples, ExampleError> {
        // No TOML document begins with a brace.
        let written: Written = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| ExampleError::Shape(error.to_string()))?
        } else {
            toml::from_str(text).map_err(|error| ExampleError::Shape(error.to_string().trim().to_owned()))?
        };
        if written.cases.is_empty() || written.cases.len() > CASES_MAX {
            return Err(ExampleError::Count(written.cases.len()));
        }
        let mut shared = plain();
        overlay(&mut shared, &written.question);
        let cases = written.cases.into_iter().map(|case| {
            let mut asked = shared.clone();
            overlay(&mut asked, &case.question);
            let wrong = |what: String| ExampleError::Case { case: case.name.clone(), what };
            let question: Question =
                serde_json::from_value(asked.clone()).map_err(|error| wrong(error.to_string()))?;
            // What a question does not know would be left out, and the case
            // would prove something else than it says.
            let known = serde_json::to_value(&question).map_err(|error| wrong(error.to_string()))?;
            if let Some(path) = unknown(&asked, &known) {
                return Err(wrong(format!("`{path}` is no part of a question")));
            }
            let expected = Expected { answer: case.expect, rules: case.rules, need: case.need };
            Ok(Case { name: case.name, question, expected })
        });
        Ok(Examples { cases: cases.collect::<Result<_, _>>()? })
    }
}

impl Case {
    /// How a policy's answer differs from what was meant, if it does, and
    /// the rules that stood in the way.
    pub fn ask(&self, policy: &dyn Policy) -> (BTreeSet<String>, Option<Differs>) {
        let got = policy.decide(&self.question);
        let rules: BTreeSet<_> = reasons(&got).iter().map(|reason| reason.rule.clone()).collect();
        let need = match &got {
            Ok(Verdict::Approvals { need, .. }) => Some(*need),
            _ => None,
        };
        let Expected { answer, rules: wanted, need: count } = &self.expected;
        let same = kind(&got) == *answer
            && wanted.as_ref().is_none_or(|wanted| *wanted == rules)
            && count.is_none_or(|count| need == Some(count));
        let differs = (!same).then(|| Differs { wanted: self.expected.to_string(), got: told(&got) });
        (rules, differs)
    }
}

/// What a policy says of a request that was decided before, where it is
/// something else.
pub fn again(past: &Decision, policy: &dyn Policy) -> Option<Differs> {
    differ(&Ok(past.answer.clone()), &policy.decide(&past.question))
}

/// What a policy says of a question, where another one says something else.
pub fn between(question: &Question, old: &dyn Policy, new: &dyn Policy) -> Option<Differs> {
    differ(&old.decide(question), &new.decide(question))
}

fn differ(was: &Result<Verdict, PolicyError>, now: &Result<Verdict, PolicyError>) -> Option<Differs> {
    let rules = |of| reasons(of).iter().map(|reason: &Reason| reason.rule.clone()).collect::<BTreeSet<_>>();
    let need = |of: &Result<Verdict, PolicyError>| match of {
        Ok(Verdict::Approvals { need, .. }) => *need,
        _ => 0,
    };
    let same = kind(was) == kind(now) && rules(was) == rules(now) && need(was) == need(now);
    (!same).then(|| Differs { wanted: told(was), got: told(now) })
}

fn kind(answer: &Result<Verdict, PolicyError>) -> Answer {
    match answer {
        Ok(Verdict::Permit) => Answer::Permit,
        Ok(Verdict::Refuse { .. }) => Answer::Refuse,
        Ok(Verdict::Approvals { .. }) => Answer::Approvals,
        Ok(Verdict::Hold { .. }) => Answer::Hold,
        Err(_) => Answer::Error,
    }
}

fn reasons(answer: &Result<Verdict, PolicyError>) -> &[Reason] {
    match answer {
        Ok(Verdict::Refuse { reasons } | Verdict::Approvals { reasons, .. } | Verdict::Hold { reasons }) => {
            reasons
        }
        Ok(Verdict::Permit) | Err(_) => &[],
    }
}

fn words(answer: Answer, need: Option<u32>, rules: Option<String>) -> String {
    let head = match (answer, need) {
        (Answer::Permit, _) => "permit".to_owned(),
        (Answer::Refuse, _) => "refuse".to_owned(),
        (Answer::Approvals, Some(need)) => format!("{need} approvals"),
        (Answer::Approvals, None) => "approvals".to_owned(),
        (Answer::Hold, _) => "hold".to_owned(),
        (Answer::Error, _) => "no verdict".to_owned(),
    };
    match rules {
        Some(rules) if !rules.is_empty() => format!("{head} by {rules}"),
        _ => head,
    }
}

/// An answer in words: `refuse by no-debug`.
fn told(answer: &Result<Verdict, PolicyError>) -> String {
    let need = match answer {
        Ok(Verdict::Approvals { need, .. }) => Some(*need),
        Err(PolicyError(why)) => return format!("no verdict: {why}"),
        _ => None,
    };
    let rules: Vec<_> = reasons(answer).iter().map(|reason| reason.rule.as_str()).collect();
    words(kind(answer), need, Some(rules.join(", ")))
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.rules.as_ref().map(|rules| rules.iter().cloned().collect::<Vec<_>>().join(", "));
        f.write_str(&words(self.answer, self.need, rules))
    }
}

/// Lays what a file says over a question. Tables are merged; `artifact` and
/// `key` are laid over each artifact and each key; all else is replaced.
fn overlay(question: &mut Value, written: &Map<String, Value>) {
    for (name, value) in written {
        let each = match name.as_str() {
            "artifact" => question.get_mut("artifacts"),
            "key" => question.get_mut("keys"),
            _ => None,
        };
        match each {
            Some(Value::Array(list)) => list.iter_mut().for_each(|one| merge(one, value)),
            _ => merge(&mut question[name.as_str()], value),
        }
    }
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

/// What stands in one value and not in the other.
fn unknown(written: &Value, known: &Value) -> Option<String> {
    match (written, known) {
        (Value::Object(written), Value::Object(known)) => {
            written.iter().find_map(|(name, value)| match known.get(name) {
                Some(known) => unknown(value, known).map(|rest| match rest.is_empty() {
                    true => name.clone(),
                    false => format!("{name}.{rest}"),
                }),
                // Left out where it is empty: absent, and no list or table
                // with something in it.
                None => is_something(value).then(|| name.clone()),
            })
        }
        (Value::Array(written), Value::Array(known)) => {
            // Sets come back in an order of their own.
            let lists = written.iter().zip(known).filter(|(one, _)| one.is_object());
            lists.into_iter().find_map(|(one, other)| unknown(one, other))
        }
        _ => None,
    }
}

fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

/// The question that files depart from.
fn plain() -> Value {
    json!({
        "request": "req-01890000-0000-7000-8000-000000000000",
        "action": "sign-release",
        "caller": {
            "name": "ci/firmware",
            "kind": "workload",
            "team": "firmware",
            "roles": ["signer"],
            "claims": {
                "issuer": "https://ci.example.com",
                "repository": "example/firmware",
                "ref": "refs/heads/main",
                "workflow": "release",
            },
        },
        "product": "gateway",
        "environment": "test",
        "channel": "beta",
        "version": "1.2.0",
        "epoch": 3,
        "keys": [{
            "name": "release",
            "purpose": "release",
            "environment": "test",
            "algorithm": "p256",
            "owner": "firmware",
            "overdue": false,
            "blind": false,
            "fallback": false,
        }],
        "artifacts": [{
            "component": "app",
            "digest": "00".repeat(32),
            "format": "mcuboot",
            "size": 262144,
            "version": "1.2.0",
            "epoch": 3,
            "debug": false,
            "encrypted": false,
            "addresses": [0x0800_0000],
        }],
        "previous": { "version": "1.1.0", "epoch": 3 },
        "priority": "release",
        "build": "build-42",
        "commit": "4f2a9c1d",
        "evidence": {
            "sbom": { "format": "cyclonedx", "specification": "1.6", "components": 12, "signed": true },
            "provenance": [{
                "builder": "https://ci.example.com/builder",
                "build_type": "https://ci.example.com/release",
                "source": "https://git.example.com/example/firmware",
                "commit": "4f2a9c1d",
                "reference": "refs/heads/main",
                "artifacts": ["00".repeat(32)],
            }],
            "attested": true,
            "unproven": 0,
            "tests": [{
                "suite": "unit",
                "passed": 412,
                "failed": 0,
                "signed": true,
                "artifacts": ["00".repeat(32)],
            }],
            "reproduced": true,
            "scans": [{
                "scanner": "https://www.clamav.net",
                "version": "1.4.6",
                "database": "27500",
                "updated": "2026-11-18T07:00:00Z",
                "finished": "2026-11-18T09:00:00Z",
                "critical": 0,
                "high": 0,
                "medium": 0,
                "low": 0,
                "artifacts": ["00".repeat(32)],
            }],
            "evaluations": [{
                "evaluator": "https://lab.example.com",
                "evaluated": "2026-11-01T12:00:00Z",
                "until": "2027-11-01T00:00:00Z",
                "failed": false,
                "passed": ["EXAMPLE_LEVEL_2"],
                "artifacts": ["00".repeat(32)],
            }],
        },
        "approvals": 0,
        "released": false,
        "anomalies": [],
        // A Wednesday.
        "now": "2026-11-18T10:00:00Z",
        "salt": "00".repeat(16),
    })
}
