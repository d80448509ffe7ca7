//! `firmseal ceremony start`: from what people wrote to what will be signed.

use std::path::PathBuf;

use clap::Args;
use firmseal_core::Root;
use firmseal_core::limits::{REVOCATION_MAX, ROOT_MAX};
use firmseal_trust::ceremony::Kind as What;
use firmseal_trust::{Request, RootError, RootSpec};

use super::describe::Described;
use super::directory::Directory;
use super::{Stated, begun};
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::{root_file, trust};

/// Begin a ceremony: a directory with a request to carry to the custodians
///
/// A first root document, the one after another, or a revocation that
/// `firmseal revoke` has prepared. An owner's root is a first root with a
/// lineage of its own.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal ceremony start root-1 --root root.toml
  firmseal ceremony start root-2 --rotate root-1.cbor --change change.toml
  firmseal ceremony start root-2 --rotate root-1.cbor --root root.toml
  firmseal ceremony start revoke-4 --revocation revocation-4.cbor --under root-2.cbor")]
pub struct Start {
    /// The directory to make
    directory: PathBuf,
    /// A whole specification of a root document, in TOML
    #[arg(long, value_name = "SPEC", conflicts_with = "change")]
    root: Option<PathBuf>,
    /// The newest root document, which the new one follows
    #[arg(long, value_name = "FILE")]
    rotate: Option<PathBuf>,
    /// What changes against it, in TOML
    #[arg(long, value_name = "CHANGE", requires = "rotate")]
    change: Option<PathBuf>,
    /// A revocation that nobody has signed yet
    #[arg(long, value_name = "FILE", requires = "under", conflicts_with_all = ["root", "rotate"])]
    revocation: Option<PathBuf>,
    /// The root document that the revocation counts under
    #[arg(long, value_name = "FILE", requires = "revocation")]
    under: Option<PathBuf>,
    /// What it is called in the binder
    #[arg(long)]
    title: Option<String>,
    #[command(flatten)]
    stated: Stated,
}

impl Start {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let request = self.request()?;
        let directory = Directory::create(&self.directory, request, &self.stated.clerk())?;
        let described = Described::of(directory.ceremony().request())?;
        output.note(described.print());
        begun(&directory, output)
    }

    fn request(&self) -> Result<Request> {
        let title = |fallback: String| self.title.clone().unwrap_or(fallback);
        if let (Some(revocation), Some(under)) = (&self.revocation, &self.under) {
            let document = trust::read(revocation, REVOCATION_MAX)?.to_vec();
            let root = trust::read(under, ROOT_MAX)?.to_vec();
            let version =
                Root::decode(&root).map_err(|error| CliError::from(error).about(under.display()))?;
            let title = title(format!("revocation under root document {}", version.version()));
            return Request::new(What::Revocation, &title, document, Some(root))
                .map_err(|error| CliError::from(error).about(revocation.display()));
        }
        let before = self.rotate.as_ref().map(|path| trust::read(path, ROOT_MAX)).transpose()?;
        let current = match (&before, &self.rotate) {
            (Some(before), Some(path)) => {
                let spec = Root::decode(before).map_err(RootError::from).and_then(|root| RootSpec::of(&root));
                Some(spec.map_err(|error| CliError::from(error).about(path.display()))?)
            }
            _ => None,
        };
        let spec = match (&self.root, &self.change, &current) {
            (Some(path), _, current) => root_file::whole(path, current.as_ref())?,
            (None, Some(path), Some(current)) => root_file::changed(path, current)?,
            _ => {
                return Err(CliError::new(Kind::Usage, "nothing says what is to be signed").hint(
                    "give --root SPEC, or --rotate ROOT with --change CHANGE, or --revocation FILE --under ROOT",
                ));
            }
        };
        let kind = if before.is_some() { What::Rotation } else { What::FirstRoot };
        let document = spec.assemble()?.unsigned()?;
        let title = title(format!("root document {}", spec.version));
        Ok(Request::new(kind, &title, document, before.map(|before| before.to_vec()))?)
    }
}
