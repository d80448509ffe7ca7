//! A backend that nobody has heard of: a scheme and a home, put into a table
//! with one row. Everything else is the program's own code.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use firmseal_keys::pool::wait;
use firmseal_keys::{
    BackendError, Destruction, DynSigner, Fault, FileKey, KeptKey, KeyHome, KeyScheme, KeysError, ListedKey,
    Secret, SecretSource, Signer, conformance, uri_options,
};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use super::backends::{BACKENDS, Row};
use super::{KeyUri, destruction, generate, list, open};
use crate::error::Kind;

const SHELF: KeyScheme = KeyScheme::of::<ShelfUri>("shelf", "`shelf:DIRECTORY/NAME`");
const TABLE: &[Row] = &[Row::Built(&SHELF)];

/// A key on a shelf, under a name.
#[derive(Clone, Debug)]
struct ShelfUri(PathBuf);

impl FromStr for ShelfUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<ShelfUri, KeysError> {
        let (name, options) = uri_options::Options::split("shelf", text)?;
        options.end("none")?;
        match name.strip_prefix("shelf:").map(Path::new) {
            Some(path) if path.is_absolute() => Ok(ShelfUri(path.to_owned())),
            _ => uri_options::fail("shelf", "it is `shelf:/DIRECTORY/NAME`"),
        }
    }
}

impl fmt::Display for ShelfUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shelf:{}", self.0.display())
    }
}

impl ShelfUri {
    fn key(&self, secret: &Secret) -> Result<FileKey, BackendError> {
        match self.0.exists() {
            true => Ok(FileKey::open(&self.0, secret)?),
            false => Err(BackendError::new(Fault::NotFound, "the shelf has no such key").hint("look below")),
        }
    }
}

impl KeyHome for ShelfUri {
    fn is_development_only(&self) -> bool {
        true
    }

    fn open(&self, secret: &SecretSource) -> Result<Arc<dyn DynSigner>, BackendError> {
        Ok(Arc::new(self.key(&secret.read("the shelf's key")?)?))
    }

    fn generate(&self, algorithm: KeyAlgorithm, secret: &SecretSource) -> Result<PublicKey, BackendError> {
        let secret = secret.read("the shelf's key")?;
        Ok(FileKey::generate(&self.0, algorithm, &secret)?.public_key().clone())
    }

    fn list(&self, secret: Option<&SecretSource>) -> Result<Vec<KeptKey>, BackendError> {
        let secret = secret.unwrap_or(&SecretSource::Prompt).read("the shelf's key")?;
        let shelf = std::fs::read_dir(self.0.parent().unwrap()).unwrap();
        let uris = shelf.map(|entry| ShelfUri(entry.unwrap().path()));
        let told = |uri: ShelfUri| {
            let public_key = uri.key(&secret).map(|key| key.public_key().clone());
            ListedKey { uri, public_key, weakness: None }.told("the shelf")
        };
        Ok(uris.map(told).collect())
    }

    fn destruction(&self, _: KeyId, _: &SecretSource) -> Destruction {
        let path = self.0.clone();
        Destruction::quiet(move || FileKey::destroy(&path))
    }
}

#[test]
fn a_backend_is_a_scheme_a_home_and_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = dir.path().join("shelf");
    std::fs::create_dir(&shelf).unwrap();
    let source = dir.path().join("secret");
    let mut file = crate::newfile::NewFile::create(&source, crate::newfile::PRIVATE).unwrap();
    std::io::Write::write_all(&mut file, b"correct horse\n").unwrap();
    file.finish().unwrap();
    let secret = SecretSource::File(source);

    let text = format!("shelf:{}/boot", shelf.display());
    conformance::run_home(&SHELF, &text, &secret);
    let uri = KeyUri::parse(TABLE, &text).unwrap();
    assert_eq!(uri.to_string(), text);
    assert!(uri.is_development_only());
    assert_eq!(uri.within(Path::new("/elsewhere")), uri);

    // Its errors come out as exit codes and hints, and no arm knows them.
    let missing = open(&uri, &secret).err().unwrap();
    assert_eq!((missing.kind, missing.hint.as_deref()), (Kind::NotFound, Some("look below")));
    let refused = generate(&uri, KeyAlgorithm::P256, true, &secret).unwrap_err();
    assert_eq!((refused.kind, refused.hint.as_deref()), (Kind::Usage, Some("leave --escrowable out")));
    assert!(list(&uri, Some(&secret)).unwrap().is_empty(), "what was refused was not made");

    let made = generate(&uri, KeyAlgorithm::P256, false, &secret).unwrap();
    let signer = open(&uri, &secret).unwrap();
    assert_eq!(*signer.dyn_public_key(), made);
    wait(conformance::run(&signer));
    let listed = list(&uri, Some(&secret)).unwrap();
    let [row] = listed.as_slice() else { panic!("{} rows", listed.len()) };
    assert_eq!((&row.key, &row.id), (&text, &made.id().to_string()));
    assert_eq!((row.algorithm.as_str(), row.kept.as_str()), ("p256", "never leaves the shelf"));

    let Destruction::Here(destroy) = destruction(&uri, &secret, made.id()) else { panic!("elsewhere") };
    assert_eq!(destroy(), Ok(None));
    assert_eq!(destroy(), Ok(None), "twice is no error");
    assert_eq!(open(&uri, &secret).err().unwrap().kind, Kind::NotFound);
}

#[test]
fn a_table_reads_what_it_has_rows_for() {
    for (table, bad, says) in [
        (TABLE, "file:a", "write `shelf:DIRECTORY/NAME`"),
        (TABLE, "shelf:boot", "shelf URI"),
        (TABLE, "shelf:/boot?pin=123456", "no option `pin`"),
        (BACKENDS, "shelf:/boot?pin=123456", "write `file:PATH`, `pkcs11:"),
    ] {
        let error = KeyUri::parse(table, bad).unwrap_err().to_string();
        assert!(error.contains(says), "{bad}: {error}");
        assert!(!error.contains("123456"), "{error}");
    }
}

#[test]
fn what_a_program_was_built_without_it_says_and_never_shows() {
    const WITHOUT: &[Row] = &[Row::Absent { scheme: "drawer", feature: "drawers" }];
    let uri = KeyUri::parse(WITHOUT, "drawer:top?pin=123456").unwrap();
    assert!(!format!("{uri} {uri:?} {}", serde_json::to_string(&uri).unwrap()).contains("123456"));
    assert_ne!(uri, KeyUri::parse(WITHOUT, "drawer:bottom").unwrap());
    assert!(!uri.is_development_only());
    assert_eq!(uri.within(Path::new("/srv")), uri);
    let secret = SecretSource::Prompt;
    for error in [
        open(&uri, &secret).err().unwrap(),
        generate(&uri, KeyAlgorithm::P256, false, &secret).unwrap_err(),
        generate(&uri, KeyAlgorithm::P256, true, &secret).unwrap_err(),
        list(&uri, None).err().unwrap(),
    ] {
        assert_eq!(error.kind, Kind::Usage);
        assert!(error.message.contains("without the feature `drawers`"), "{}", error.message);
        assert!(error.hint.unwrap().contains("--features drawers"));
    }
    let id = KeyId(firmseal_manifest::Digest([0; 32]));
    let Destruction::Elsewhere(how) = destruction(&uri, &secret, id) else { panic!("from here") };
    assert!(how.contains("the feature `drawers`"), "{how}");
}
