//! What the crates below say, as exit codes and hints.

use firmseal_core::Refusal;
use firmseal_keys::{BackendError, Fault, LogError, SignError};
use firmseal_manifest::AuthorError;
use firmseal_oci::OciError;
use firmseal_outbound::OutboundError;
use firmseal_sign::{GateRefusal, PipelineError, TrustError};
use firmseal_store::StoreError;
use firmseal_trust::RootError;

use super::{CliError, Kind};

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> CliError {
        CliError::new(Kind::Refused, format_args!("{refusal} (refusal {})", refusal.code()))
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> CliError {
        let kind = match &error {
            StoreError::NotFound { .. } => Kind::NotFound,
            StoreError::Conflict { .. } => Kind::Conflict,
            StoreError::Busy { .. } => Kind::Unavailable,
            StoreError::DigestMismatch { .. } | StoreError::SizeMismatch { .. } => Kind::Refused,
            _ => Kind::Local,
        };
        let waits = matches!(error, StoreError::InUse { .. });
        let out = CliError::new(kind, error);
        match waits {
            true => out.hint("`firmseal serve --standby` waits for its end and takes over"),
            false => out,
        }
    }
}

impl From<BackendError> for CliError {
    fn from(error: BackendError) -> CliError {
        let (fault, message, hint) = match error {
            BackendError::Keys(error) => return error.into(),
            BackendError::Told { fault, message, hint } => (fault, message, hint),
        };
        let kind = match fault {
            Fault::Usage => Kind::Usage,
            Fault::Refused => Kind::Refused,
            Fault::NotFound => Kind::NotFound,
            Fault::NotAllowed | Fault::WrongPin => Kind::NotAllowed,
            Fault::Conflict => Kind::Conflict,
            Fault::Unavailable => Kind::Unavailable,
            Fault::Local => Kind::Local,
        };
        let told = CliError::new(kind, message);
        match hint {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}

impl From<SignError> for CliError {
    fn from(error: SignError) -> CliError {
        let kind = match &error {
            SignError::Unavailable(_) => Kind::Unavailable,
            SignError::WrongPin | SignError::Denied(_) => Kind::NotAllowed,
            SignError::BadSignature => Kind::Unexpected,
            _ => Kind::Refused,
        };
        CliError::new(kind, error)
    }
}

impl From<PipelineError> for CliError {
    fn from(error: PipelineError) -> CliError {
        match error {
            PipelineError::Store(error) => error.into(),
            PipelineError::Key(error) => error.into(),
            PipelineError::Spool(error) => error.into(),
            PipelineError::InFlight(_) | PipelineError::Proof(_) | PipelineError::Stamp(_) => {
                CliError::new(Kind::Unavailable, error)
            }
            PipelineError::KeyReused(_) | PipelineError::Gate(GateRefusal::VersionExists { .. }) => {
                CliError::new(Kind::Conflict, error)
            }
            PipelineError::Log(LogError::Leaf(_)) => CliError::new(Kind::Refused, error),
            PipelineError::Log(_) => CliError::new(Kind::Local, error),
            other => CliError::new(Kind::Refused, other),
        }
    }
}

impl From<TrustError> for CliError {
    fn from(error: TrustError) -> CliError {
        match error {
            TrustError::Store(error) => error.into(),
            TrustError::Taken { .. } | TrustError::OutOfTurn { .. } | TrustError::Forgets { .. } => {
                CliError::new(Kind::Conflict, error)
            }
            other => CliError::new(Kind::Refused, other),
        }
    }
}

impl From<AuthorError> for CliError {
    fn from(error: AuthorError) -> CliError {
        CliError::new(Kind::Refused, error)
    }
}

impl From<RootError> for CliError {
    fn from(error: RootError) -> CliError {
        CliError::new(Kind::Refused, error)
    }
}

impl From<OciError> for CliError {
    fn from(error: OciError) -> CliError {
        let kind = match &error {
            OciError::Reference { .. }
            | OciError::Settings(_)
            | OciError::Outbound { error: OutboundError::Address { .. }, .. } => Kind::Usage,
            OciError::NotFound { .. } => Kind::NotFound,
            OciError::NotAllowed { .. } => Kind::NotAllowed,
            OciError::Outbound {
                error: OutboundError::NotSent(_) | OutboundError::Unreachable(_) | OutboundError::Timeout,
                ..
            }
            | OciError::Status { status: 429 | 500.., .. }
            | OciError::Contended => Kind::Unavailable,
            _ => Kind::Refused,
        };
        CliError::new(kind, error)
    }
}
