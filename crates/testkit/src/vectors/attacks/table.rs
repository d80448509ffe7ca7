//! The table of docs/threats.md, made from the attacks.

use std::fmt::Write as _;

use super::{Attack, List, Outcome, all};
use crate::vectors::format::Purpose;

/// What stands before and behind the generated part of the page.
pub const MARKS: (&str, &str) = ("<!-- attacks: made from crates/testkit -->\n", "<!-- /attacks -->\n");

/// The generated part of the page.
pub fn generated() -> String {
    let mut out = String::new();
    let lists = [
        (List::Tuf, "Attacks on updates (TUF 1.0.34 §1.5.2)"),
        (List::Uptane, "What Uptane adds (Uptane Standard 2.1.0 §4.2)"),
        (List::Own, "Keys, people and places that turn"),
    ];
    for (list, title) in lists {
        let _ = write!(out, "## {title}\n\n");
        out.push_str("| attack | what the thief holds | outcome | what remains possible | tests |\n");
        out.push_str("| --- | --- | --- | --- | --- |\n");
        for attack in all().filter(|attack| attack.list == list) {
            row(&mut out, attack);
        }
        out.push('\n');
    }
    out
}

fn row(out: &mut String, attack: &Attack) {
    let name = attack.name.replace('_', " ");
    let outcome = match attack.outcome {
        Outcome::Prevented { by, when } => format!("**prevented** by {by}; {when}"),
        Outcome::Bounded { bound, by, soon } => {
            format!("**bounded**: {bound}. **Detected** by {by}; {soon}")
        }
        Outcome::Open { until } => format!("**not yet**: until {until}"),
    };
    let mut tests = Vec::new();
    let vectors = attack.vectors();
    if !vectors.is_empty() {
        let installs = vectors.iter().filter(|vector| vector.purpose == Purpose::Admit).count();
        let boots = vectors.len() - installs;
        tests.push(format!("vectors: `{}_*` ({installs} installs, {boots} boots)", attack.name));
    }
    tests.extend(attack.tests.iter().map(|test| match test.split_once(": ") {
        Some((package, test)) => format!("{package}: `{test}`"),
        None => format!("`{test}`"),
    }));
    let remains = if attack.remains.is_empty() { "nothing that is known" } else { attack.remains };
    let _ = writeln!(out, "| {name} | {} | {outcome} | {remains} | {} |", attack.thief, tests.join("; "));
}
