//! Runs the command engine against a scripted device and writes down what
//! it asked for.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Action, Authenticated, Envelope, Machine, Outcome, Refusal, Root, authenticate};

use crate::vectors::Measurable;
use crate::world::PRODUCT;

/// What a device holds and how its directives end.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// What each component holds.
    pub images: Vec<Option<Measurable>>,
    /// The directives, by their place among all, that fail.
    pub failing: Vec<usize>,
    /// Whether content comparisons match.
    pub content: bool,
}

/// What happened: each action in words, then how it ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The actions, in order.
    pub actions: Vec<String>,
    /// Nothing, or the refusal.
    pub end: Result<(), Refusal>,
    /// Whether each component matched after it was last written.
    pub all_matched: bool,
}

/// Runs a machine to its end, or until `most` actions were asked for.
pub fn run(mut machine: Machine<'_, '_>, script: &Script, most: usize) -> Run {
    let (mut actions, mut directives) = (Vec::new(), 0);
    let end = loop {
        let action = match machine.next() {
            Ok(Action::Finished) => break Ok(()),
            Ok(_) if actions.len() == most => break Ok(()),
            Ok(action) => action,
            Err(refusal) => break Err(refusal),
        };
        let outcome = match action {
            Action::Measure { component, .. } => {
                actions.push(format!("measure {component}"));
                match script.images.get(component) {
                    Some(Some(image)) => Outcome::Measured(image.measured()),
                    _ => Outcome::Failed,
                }
            }
            Action::Compare { component, .. } => {
                actions.push(format!("compare {component}"));
                if script.content { Outcome::Done } else { Outcome::Failed }
            }
            directive => {
                actions.push(match directive {
                    Action::Fetch { component, uri, .. } => format!("fetch {component} {uri}"),
                    Action::Copy { component, source } => format!("copy {component} {source}"),
                    Action::Swap { component, source } => format!("swap {component} {source}"),
                    Action::Write { component, content } => format!("write {component} {content:?}"),
                    Action::Invoke { component, .. } => format!("invoke {component}"),
                    _ => unreachable!("conditions were answered above"),
                });
                directives += 1;
                if script.failing.contains(&(directives - 1)) { Outcome::Failed } else { Outcome::Done }
            }
        };
        machine.done(outcome);
    };
    Run { actions, end, all_matched: machine.all_matched() }
}

/// Authenticates an envelope against a root's release role and shows the
/// result.
pub fn authenticated<T>(
    envelope: &[u8],
    root: &[u8],
    show: impl FnOnce(Authenticated<'_>) -> T,
) -> Result<T, Refusal> {
    let root = Root::decode(root)?;
    authenticate(Envelope::decode(envelope)?, &root, PRODUCT, &RustCrypto).map(show)
}
