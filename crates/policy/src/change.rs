//! Changes: what differs between two policies, line by line, for whoever has
//! to agree to one of them.

use std::collections::BTreeMap;

use firmseal_manifest::PolicyDocument;

/// Most lines of a file that are compared in pairs; of longer ones both texts
/// are told whole.
const LINES_MAX: usize = 4096;
/// Unchanged lines around a change.
const AROUND: usize = 2;

/// What became of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Same,
    Gone,
    New,
}

/// What differs, a line each: `  ` unchanged, `- ` gone, `+ ` new, under a
/// heading for each file that differs. Empty where nothing does.
pub fn changes(before: Option<&PolicyDocument>, after: &PolicyDocument) -> Vec<String> {
    let mut out = Vec::new();
    if before.is_some_and(|before| before.schema != after.schema) {
        out.push(format!("+ schema {}", after.schema));
    }
    let of = |document: &PolicyDocument| -> BTreeMap<String, String> {
        document.files.iter().map(|file| (file.name.clone(), file.text.clone())).collect()
    };
    let (old, new) = (before.map(of).unwrap_or_default(), of(after));
    let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        let text = |of: &BTreeMap<String, String>| of.get(name).cloned().unwrap_or_default();
        let (old_text, new_text) = (text(&old), text(&new));
        if old_text == new_text && old.contains_key(name) == new.contains_key(name) {
            continue;
        }
        out.push(match (old.contains_key(name), new.contains_key(name)) {
            (false, _) => format!("{name}: new"),
            (_, false) => format!("{name}: gone"),
            _ => format!("{name}:"),
        });
        let (old_lines, new_lines): (Vec<_>, Vec<_>) =
            (old_text.lines().collect(), new_text.lines().collect());
        out.extend(shown(&marked(&old_lines, &new_lines)));
    }
    out
}

/// Every line of both, in order, with what became of it.
fn marked<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(Mark, &'a str)> {
    if old.len() > LINES_MAX || new.len() > LINES_MAX {
        let gone = old.iter().map(|line| (Mark::Gone, *line));
        return gone.chain(new.iter().map(|line| (Mark::New, *line))).collect();
    }
    // Lengths of the longest common rests.
    let width = new.len() + 1;
    let mut rest = vec![0_u16; (old.len() + 1) * width];
    for at in (0..old.len()).rev() {
        for to in (0..new.len()).rev() {
            rest[at * width + to] = match old[at] == new[to] {
                true => rest[(at + 1) * width + to + 1] + 1,
                false => rest[(at + 1) * width + to].max(rest[at * width + to + 1]),
            };
        }
    }
    let (mut at, mut to, mut out) = (0, 0, Vec::new());
    while at < old.len() || to < new.len() {
        if at < old.len() && to < new.len() && old[at] == new[to] {
            out.push((Mark::Same, old[at]));
            (at, to) = (at + 1, to + 1);
        } else if to == new.len()
            || (at < old.len() && rest[(at + 1) * width + to] >= rest[at * width + to + 1])
        {
            out.push((Mark::Gone, old[at]));
            at += 1;
        } else {
            out.push((Mark::New, new[to]));
            to += 1;
        }
    }
    out
}

/// The lines that changed, and a few around them.
fn shown(lines: &[(Mark, &str)]) -> Vec<String> {
    let near = |at: usize| {
        let around = at.saturating_sub(AROUND)..(at + AROUND + 1).min(lines.len());
        lines[around].iter().any(|(mark, _)| *mark != Mark::Same)
    };
    let mut out = Vec::new();
    let mut skipped = false;
    for (at, (mark, line)) in lines.iter().enumerate() {
        if !near(at) {
            skipped = true;
            continue;
        }
        if skipped && !out.is_empty() {
            out.push("  ...".to_owned());
        }
        skipped = false;
        let sign = match mark {
            Mark::Same => ' ',
            Mark::Gone => '-',
            Mark::New => '+',
        };
        out.push(format!("{sign} {line}").trim_end().to_owned());
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use firmseal_manifest::PolicyFile;

    use super::*;

    fn document(files: &[(&str, &str)]) -> PolicyDocument {
        let file = |(name, text): &(&str, &str)| PolicyFile { name: (*name).into(), text: (*text).into() };
        PolicyDocument::new(1, files.iter().map(file).collect()).unwrap()
    }

    #[test]
    fn what_differs_is_told_and_nothing_else() {
        let old = document(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"), ("b", "x\n"), ("c", "same\n")]);
        let new = document(&[("a", "1\n2\n3\nfour\n5\n6\n7\n8\n9\n10\n"), ("c", "same\n"), ("d", "y\n")]);
        let told = changes(Some(&old), &new);
        let wanted = [
            "a:", "  2", "  3", "- 4", "+ four", "  5", "  6", "  ...", "  8", "  9", "+ 10", "b: gone",
            "- x", "d: new", "+ y",
        ];
        assert_eq!(told, wanted);
        assert_eq!(changes(Some(&new), &new), Vec::<String>::new());
        assert_eq!(changes(None, &document(&[("a", "1\n")])), ["a: new", "+ 1"]);
        let long = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(
            changes(Some(&document(&[("a", &long)])), &document(&[("a", "x\n")])).len(),
            LINES_MAX + 3
        );
    }
}
