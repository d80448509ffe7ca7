//! `firmseal ceremony start`: from what people wrote to what will be signed.

use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_core::Root;
use firmseal_core::limits::{REVOCATION_MAX, ROOT_MAX};
use firmseal_trust::ceremony::Kind as What;
use firmseal_trust::{Request, RootError, RootSpec};

use super::describe::Described;
use super::directory::Directory;
use super::{Stated, begun};
use crate::bundle_file::BundleFile;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::{root_file, trust};

/// Begin a ceremony: a directory with a request to carry to the custodians
///
/// A first root document, the one after another, a revocation that `firmseal
/// revoke` has prepared, or a release from a bundle. An owner's root is a
/// first root with a lineage of its own. A recovery image is a release that
/// devices take on which nothing boots, or in front of which somebody stands.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal ceremony start root-1 --root root.toml
  firmseal ceremony start root-2 --rotate root-1.cbor --change change.toml
  firmseal ceremony start root-2 --rotate root-1.cbor --root root.toml
  firmseal ceremony start revoke-4 --revocation revocation-4.cbor --under root-2.cbor
  firmseal ceremony start rescue --recovery gateway-1.4.2.bundle --under root-2.cbor
  firmseal ceremony start gw-1.5.0 --release gateway-1.5.0.bundle --under root-2.cbor")]
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
    /// A bundle with the release that holders of the release role will sign
    #[arg(long, value_name = "BUNDLE", requires = "under", conflicts_with_all = ["root", "rotate", "revocation"])]
    release: Option<PathBuf>,
    /// A bundle with the release that holders of the recovery role will sign
    #[arg(long, value_name = "BUNDLE", requires = "under")]
    #[arg(conflicts_with_all = ["root", "rotate", "revocation", "release"])]
    recovery: Option<PathBuf>,
    /// The root document that a revocation or release counts under
    #[arg(long, value_name = "FILE")]
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
        if let Some(under) = &self.under {
            return self.release(under);
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
                    "give --root SPEC, or --rotate ROOT with --change CHANGE, or --revocation FILE --under ROOT, or \
                     --release BUNDLE --under ROOT",
                ));
            }
        };
        let kind = if before.is_some() { What::Rotation } else { What::FirstRoot };
        let document = spec.assemble()?.unsigned()?;
        let title = title(format!("root document {}", spec.version));
        Ok(Request::new(kind, &title, document, before.map(|before| before.to_vec()))?)
    }

    /// The release of a bundle. Whatever signatures it came with stay
    /// behind; its payloads are measured here, and again wherever it is
    /// signed.
    fn release(&self, under: &Path) -> Result<Request> {
        let (kind, bundle) = match (&self.release, &self.recovery) {
            (Some(bundle), None) => (What::Release, bundle),
            (None, Some(bundle)) => (What::Recovery, bundle),
            _ => {
                return Err(CliError::new(Kind::Usage, "nothing says what counts under that root document")
                    .hint("give --revocation FILE, --release BUNDLE or --recovery BUNDLE"));
            }
        };
        let carried = BundleFile::open(bundle, None)?;
        let spec = carried.spec();
        let named = match kind {
            What::Recovery => format!("recovery of {} with {}", spec.product, spec.version),
            _ => format!("release {} of {}", spec.version, spec.product),
        };
        let document = spec.assemble()?.seal(&[])?;
        let root = trust::read(under, ROOT_MAX)?.to_vec();
        Request::new(kind, &self.title.clone().unwrap_or(named), document, Some(root))
            .map_err(|error| CliError::from(error).about(bundle.display()))
    }
}
