//! Loading: from the text of a policy to rules that may be asked.

use std::collections::BTreeMap;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, ValidationMode, Validator};
use firmseal_manifest::{PolicyDocument, PolicyFile};
use miette::Diagnostic;

use crate::example::Examples;
use crate::problem::{LoadError, Problem, line};
use crate::reads::Reads;
use crate::rule::{Demand, Rule};
use crate::schema::{NUMBER, schema};

/// Most rules.
pub const RULES_MAX: usize = 512;
/// Deepest nesting of brackets, and most conditionals, that a rule may have.
const NESTING_MAX: usize = 32;
/// Longest rule, with the comments in front of it, in bytes.
const RULE_MAX: usize = 8 * 1024;

/// Rules that were read and validated.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// By name.
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(crate) permits: PolicySet,
    pub(crate) forbids: PolicySet,
    /// What they read of a question.
    pub(crate) reads: Reads,
}

/// Reads a policy and validates it strictly against the schema. Everything
/// that is wrong is told at once, where it can be.
pub(crate) fn load(document: &PolicyDocument) -> Result<Loaded, LoadError> {
    let whole = |what: String| LoadError::from(problem("policy", None, None, what));
    document.check().map_err(|error| whole(error.to_string()))?;
    if document.schema != NUMBER {
        let what =
            format!("is written for schema {}; this version of firmseal reads {NUMBER}", document.schema);
        return Err(whole(what));
    }
    let (mut problems, mut rules, mut all) = (Vec::new(), BTreeMap::new(), Vec::new());
    let files = || document.files.iter().filter(|file| !Examples::stand_in(&file.name));
    for file in files() {
        for (policy, at) in parse(&file.name, &file.text, &mut problems) {
            match Rule::read(&policy) {
                Err(what) => problems.push(problem(&file.name, at, None, what)),
                Ok(rule) if rules.contains_key(&rule.id) => {
                    let what = "is there twice; each rule has a name of its own".to_owned();
                    problems.push(problem(&file.name, at, Some(&rule.id), what));
                }
                Ok(rule) => {
                    all.push((policy.new_id(PolicyId::new(&rule.id)), file));
                    rules.insert(rule.id.clone(), rule);
                }
            }
        }
    }
    if rules.len() > RULES_MAX {
        return Err(whole(format!("has more than {RULES_MAX} rules")));
    }
    validate(&all, &mut problems).map_err(whole)?;
    if problems.is_empty() && rules.values().all(|rule| rule.demand != Demand::Permit) {
        return Err(whole("permits nothing at all; write a permit".to_owned()));
    }
    if !problems.is_empty() {
        problems.sort();
        return Err(LoadError(problems));
    }
    let reads = Reads::of(files().map(|file| file.text.as_str()));
    let (permits, forbids): (Vec<_>, Vec<_>) =
        all.into_iter().map(|(policy, _)| policy).partition(|policy| policy.effect() == Effect::Permit);
    let set = |rules| PolicySet::from_policies(rules).map_err(|error| whole(error.to_string()));
    Ok(Loaded { rules, permits: set(permits)?, forbids: set(forbids)?, reads })
}

fn problem(file: &str, line: Option<usize>, rule: Option<&str>, what: String) -> Problem {
    Problem { file: file.to_owned(), line, rule: rule.map(str::to_owned), what }
}

/// The rules of one file, each with its line.
fn parse(name: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<(Policy, Option<usize>)> {
    if let Some((at, what)) = excess(text) {
        problems.push(problem(name, Some(line(text, at)), None, what));
        return Vec::new();
    }
    let set: PolicySet = match text.parse() {
        Ok(set) => set,
        Err(errors) => {
            let errors: &cedar_policy::ParseErrors = &errors;
            problems
                .extend(errors.iter().map(|error| problem(name, label(text, error), None, described(error))));
            return Vec::new();
        }
    };
    for template in set.templates() {
        let source = template.to_cedar();
        let at = text.find(&source).map(|at| line(text, at));
        problems.push(problem(name, at, None, "is a template; write out what `?` stands for".to_owned()));
    }
    // Cedar numbers them in their order, and keeps each one's text.
    let mut rules: Vec<_> = set.policies().cloned().collect();
    let number = |policy: &Policy| policy.id().to_string().trim_start_matches("policy").parse::<usize>().ok();
    rules.sort_by_key(number);
    let mut from = 0;
    let located = rules.into_iter().map(|policy| {
        let source = policy.to_cedar().unwrap_or_default();
        let at = text[from..].find(&source).map(|at| from + at);
        from = at.map_or(from, |at| at + source.len());
        (policy, at.map(|at| line(text, at)))
    });
    located.collect()
}

/// Where a rule nests deeper or gets longer than it may, and what is wrong
/// there. Asked before Cedar reads a byte of it: what reads rules, and what
/// drops them, walks trees as deep as they are.
fn excess(text: &str) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let (mut depth, mut conditions, mut start, mut at) = (0_usize, 0_usize, 0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += 1 + usize::from(bytes[at] == b'\\');
                }
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                let len = bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r'));
                at += len.unwrap_or(bytes.len() - at);
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'i' if bytes[at..].starts_with(b"if") => {
                let inside = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
                conditions += usize::from(!inside);
            }
            b';' => (depth, conditions, start) = (0, 0, at),
            _ => {}
        }
        if depth > NESTING_MAX || conditions > NESTING_MAX {
            return Some((at, format!("nests deeper than {NESTING_MAX}; write two rules")));
        }
        if at.saturating_sub(start) > RULE_MAX {
            return Some((start, format!("has more than {RULE_MAX} bytes; write two rules")));
        }
        at += 1;
    }
    None
}

fn validate(all: &[(Policy, &PolicyFile)], problems: &mut Vec<Problem>) -> Result<(), String> {
    let set = PolicySet::from_policies(all.iter().map(|(policy, _)| policy.clone()));
    let set = set.map_err(|error| error.to_string())?;
    let result = Validator::new(schema()?.clone()).validate(&set, ValidationMode::Strict);
    let mut found = |id: &PolicyId, error: &dyn Diagnostic, what: String| {
        let file = all.iter().find(|(policy, _)| policy.id() == id).map(|(_, file)| *file);
        let (name, text) = file.map_or(("policy", ""), |file| (&file.name, &file.text));
        problems.push(problem(name, label(text, error), Some(id.as_ref()), what));
    };
    for error in result.validation_errors() {
        found(error.policy_id(), error, described(error));
    }
    // What can never apply protects nobody, and what looks like another word
    // is meant to.
    for warning in result.validation_warnings() {
        found(warning.policy_id(), warning, described(warning));
    }
    Ok(())
}

/// The line that Cedar points at.
fn label(text: &str, error: &dyn Diagnostic) -> Option<usize> {
    let at = error.labels()?.next()?.offset();
    Some(line(text, at))
}

/// What Cedar says, with its advice.
fn described(error: &dyn Diagnostic) -> String {
    let said = match error.labels().and_then(|mut labels| labels.next()?.label().map(str::to_owned)) {
        Some(label) if !label.is_empty() => format!("{error}: {label}"),
        _ => error.to_string(),
    };
    // It names the rule in front; we do, too.
    let said = match said.split_once("`, ") {
        Some((head, rest)) if head.starts_with("for policy `") => rest.to_owned(),
        _ => said,
    };
    match error.help() {
        Some(help) => format!("{said} ({help})"),
        None => said,
    }
}
