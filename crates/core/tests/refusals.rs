//! Refusal numbers are for ever: the table in `spec/refusals.md` and the
//! code must say the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use firmseal_core::Refusal;
use firmseal_core::limits::Limit;

/// Every refusal that there is. The match has no arm for the rest: a new
/// variant does not compile before it has a row here and in the table.
fn all() -> Vec<Refusal> {
    use Refusal as R;
    let all = vec![
        R::Malformed(""),
        R::Limit(Limit::EnvelopeMax),
        R::Unsupported(""),
        R::UnsignedMember(0),
        R::SeveredMissing(0),
        R::SeveredMismatch(0),
        R::ManifestDigest,
        R::BadSignature,
        R::UnknownSigner,
        R::ThresholdNotMet { have: 0, need: 1 },
        R::RoleMissing,
        R::BadThreshold,
        R::KeyReused,
        R::RootVersion { offered: 3, held: 1 },
        R::WrongLineage,
        R::KeyRevoked,
        R::DelegationScope(""),
        R::Expired { expiry: 1 },
        R::NotYetValid { not_before: 1 },
        R::FactsMissing,
        R::FactsDisagree(""),
        R::WrongEnvironment,
        R::WrongProduct,
        R::WrongVendor,
        R::WrongClass,
        R::UnknownComponent(0),
        R::TooLarge { size: 0, capacity: 0 },
        R::WrongSlot { built_for: 0, slot: 0 },
        R::WrongChannel,
        R::SequenceTooLow { offered: 0, floor: 0 },
        R::EpochTooLow { offered: 0, counter: 0 },
        R::EpochBelowRoot { offered: 0, minimum: 0 },
        R::DelegationTooLow { offered: 0, floor: 0 },
        R::UnknownCommand(0),
        R::UnknownParameter(0),
        R::CommandNotAllowed(0),
        R::ParameterMissing(0),
        R::ConditionFailed(0),
        R::DirectiveFailed(0),
        R::BlockMismatch(0),
        R::HashBlockMismatch { level: 0, index: 0 },
        R::BlockGeometry,
        R::ImageMismatch,
        R::ProofMissing,
        R::ApprovalsMissing { have: 0, need: 1 },
        R::DelegationMissing,
        R::OwnerMissing,
        R::ProofInvalid(""),
        R::WitnessesMissing { have: 0, need: 1 },
        R::IntentMismatch(""),
        R::StatementMismatch(""),
        R::ReleaseRevoked,
        R::RevocationTooOld { offered: 0, needed: 1 },
        R::Stale,
        R::RollbackEarly,
    ];
    for refusal in &all {
        match refusal {
            R::Malformed(_) | R::Limit(_) | R::Unsupported(_) | R::UnsignedMember(_) => {}
            R::SeveredMissing(_) | R::SeveredMismatch(_) | R::ManifestDigest | R::BadSignature => {}
            R::UnknownSigner | R::ThresholdNotMet { .. } | R::RoleMissing | R::BadThreshold => {}
            R::KeyReused | R::FactsMissing | R::FactsDisagree(_) | R::WrongEnvironment => {}
            R::WrongProduct | R::WrongVendor | R::WrongClass | R::UnknownComponent(_) | R::WrongChannel => {}
            R::TooLarge { .. } | R::WrongSlot { .. } | R::SequenceTooLow { .. } | R::EpochTooLow { .. } => {}
            R::EpochBelowRoot { .. } | R::DelegationTooLow { .. } | R::UnknownCommand(_) => {}
            R::UnknownParameter(_) | R::CommandNotAllowed(_) | R::ParameterMissing(_) => {}
            R::ConditionFailed(_) | R::DirectiveFailed(_) | R::BlockMismatch(_) => {}
            R::HashBlockMismatch { .. } | R::BlockGeometry | R::ImageMismatch => {}
            R::ProofMissing | R::ApprovalsMissing { .. } | R::DelegationMissing | R::OwnerMissing => {}
            R::RootVersion { .. } | R::WrongLineage | R::KeyRevoked | R::DelegationScope(_) => {}
            R::Expired { .. } | R::NotYetValid { .. } | R::ProofInvalid(_) => {}
            R::WitnessesMissing { .. } | R::IntentMismatch(_) | R::StatementMismatch(_) => {}
            R::ReleaseRevoked | R::RevocationTooOld { .. } | R::Stale | R::RollbackEarly => {}
        }
    }
    all
}

#[test]
fn numbers_are_those_of_the_specification() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/refusals.md");
    let text = fs::read_to_string(path).unwrap();
    let stated: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let code = cells.next()?;
            code.bytes().next()?.is_ascii_digit().then(|| (code.to_owned(), cells.next().unwrap().to_owned()))
        })
        .collect();
    let coded: Vec<(String, String)> = all()
        .iter()
        .map(|refusal| {
            let name = format!("{refusal:?}").split([' ', '(', '{']).next().unwrap().to_owned();
            (refusal.code().to_string(), name)
        })
        .collect();
    assert_eq!(coded, stated);
}

#[test]
fn every_refusal_says_what_is_wrong_in_one_plain_line() {
    for refusal in all() {
        let text = refusal.to_string();
        assert!(text.len() > 10 && !text.contains('\n') && !text.ends_with('.'), "{text}");
        assert!(!text.starts_with(|first: char| first.is_ascii_uppercase()), "{text}");
    }
}
