//! A bundle file as a source.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use firmseal_core::Admitted;
use firmseal_manifest::bundle::{BundleHead, News, read_blob_head, read_head};

use super::{Blob, Kind, Reading, Source};
use crate::error::Error;
use crate::files::{Access, File, Files};

/// An open bundle, read up to its envelope.
pub(crate) struct Bundle {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// The envelope, in memory: the file may change.
    pub(crate) envelope: Vec<u8>,
    /// Trust documents that it brings. None of them is trusted yet.
    pub(crate) news: News,
    offset: u64,
}

impl Bundle {
    pub(crate) fn open(files: Arc<dyn Files>, path: &Path) -> Result<Bundle, Error> {
        let mut input = Reading { file: open(&*files, path)?, offset: 0 };
        let head = read_head(&mut input)
            .map_err(|err| Error::Bundle { path: path.to_owned(), why: err.to_string() })?;
        let BundleHead { news, envelope, offset } = head;
        Ok(Bundle { files, path: path.to_owned(), envelope, news, offset })
    }

    /// Finds the blobs. They stand in the order of the manifest's
    /// components, and their lengths must be those of the signed facts.
    pub(crate) fn source(&self, admitted: &Admitted<'_>) -> Result<BundleSource, Error> {
        let mut at = BTreeMap::new();
        let mut input = Reading { file: open(&*self.files, &self.path)?, offset: self.offset };
        for (component, (_, facts, _)) in admitted.components().enumerate() {
            for (kind, len) in [(Kind::Tree, facts.tree.hash_bytes()), (Kind::Payload, facts.tree.size())] {
                read_blob_head(&mut input, len)
                    .map_err(|err| Error::Bundle { path: self.path.clone(), why: err.to_string() })?;
                at.insert((component, kind), input.offset);
                input.offset += len;
            }
        }
        Ok(BundleSource { files: self.files.clone(), path: self.path.clone(), at })
    }
}

fn open(files: &dyn Files, path: &Path) -> Result<Box<dyn File>, Error> {
    files
        .open(path, Access::Read)
        .map_err(|err| Error::Bundle { path: path.to_owned(), why: err.to_string() })
}

/// The blobs of a bundle, which names them by their place.
pub(crate) struct BundleSource {
    files: Arc<dyn Files>,
    path: PathBuf,
    at: BTreeMap<(usize, Kind), u64>,
}

impl Source for BundleSource {
    fn open(&self, blob: &Blob, offset: u64, _: u64) -> Result<Box<dyn Read + Send + '_>, Error> {
        let start = self.at.get(&(blob.component, blob.kind)).ok_or_else(|| Error::Bundle {
            path: self.path.clone(),
            why: "it lacks a component".to_owned(),
        })?;
        Ok(Box::new(Reading { file: open(&*self.files, &self.path)?, offset: start + offset }))
    }
}
