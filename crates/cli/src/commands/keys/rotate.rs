//! `firmseal keys rotate`: a key's successor, made where it will live.
//!
//! It signs nothing by itself: devices have to know it first, and whoever
//! knows them says when. Until the old key is disabled both sign.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use clap::Args;
use firmseal_manifest::{KeyAlgorithm, KeyName};
use serde::Serialize;

use crate::error::{CliError, Kind, Result, file};
use crate::key_table::{Date, KeyTable};
use crate::keys::KeyUri;
use crate::newfile;
use crate::output::Output;
use crate::place::{Place, layout};
use crate::unechoed::unechoed;

/// Make the successor of a key
#[derive(Args)]
pub struct Rotate {
    /// The name of the key that is succeeded, as its `[[key]]` table has it
    old: KeyName,
    /// The name of the new key
    new: KeyName,
    /// Where the new key is made: a URI with a name that is free there
    #[arg(value_parser = unechoed::<KeyUri>())]
    uri: KeyUri,
    /// The place whose signing.toml names the old key
    #[arg(long, value_name = "DIR")]
    place: PathBuf,
    /// The day by which the new key is rotated in its turn
    #[arg(long, value_name = "DATE")]
    rotate_by: Option<Date>,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    name: KeyName,
    replaces: KeyName,
    id: String,
    algorithm: String,
    public: String,
}

/// A file with one `[[key]]` table.
#[derive(Serialize)]
struct Tables {
    key: [KeyTable; 1],
}

impl Rotate {
    pub async fn run(self, output: &Output) -> Result {
        let place = Place::open(&self.place)?;
        let signing = place.signing()?;
        let settings = place.path(layout::SIGNING);
        let about = |kind, what: String| CliError::new(kind, what).about(settings.display());
        let old = signing.key.iter().find(|table| table.name == self.old).ok_or_else(|| {
            about(Kind::NotFound, format!("no [[key]] table is called `{}`", self.old))
                .hint("give the key a table first: docs/how-to/keys.md")
        })?;
        if signing.key.iter().any(|table| table.name == self.new) {
            return Err(about(Kind::Conflict, format!("another key is called `{}`", self.new)));
        }
        if signing.uris().any(|uri| *uri == self.uri) {
            return Err(about(Kind::Conflict, "another key has this URI".to_owned()));
        }
        let production = old.environment == firmseal_fleet::Environment::Production;
        if production && self.uri.is_development_only() {
            return Err(crate::place::in_files());
        }
        let secret = place.secret(&signing)?;
        let algorithm = crate::keys::open(&place.own(&old.uri), &secret)?.dyn_public_key().algorithm();
        let table = KeyTable {
            name: self.new.clone(),
            uri: self.uri.clone(),
            rotate_by: self.rotate_by,
            warn_days: old.warn_days.filter(|_| self.rotate_by.is_some()),
            grace_days: old.grace_days.filter(|_| self.rotate_by.is_some()),
            replaces: Some(self.old.clone()),
            ..old.clone()
        };
        let text = toml::to_string(&Tables { key: [table] });
        let text = text.map_err(|error| CliError::new(Kind::Unexpected, error))?;
        // The key first: a table that names none would keep the server from
        // starting; a key that no table names harms nothing.
        if let KeyAlgorithm::Lms(_) = algorithm {
            return Err(CliError::new(Kind::Usage, "an LMS key is made with its log")
                .hint("`firmseal keys generate --algorithm lms --place DIR`, and write its table"));
        }
        let public = crate::keys::generate(&place.own(&self.uri), algorithm, false, &secret)?;
        append(&settings, &text).map_err(|error| {
            error.hint(format!("the key was made; add this to {} by hand:\n{text}", settings.display()))
        })?;
        output.note(format_args!(
            "`{new}` is in {}. It signs nothing until a key set names it, or somebody asks for it by name.\n\
             1. teach devices its public half: docs/runbooks/key-rotation.md\n\
             2. name `{new}` where `{old}` stands in {}, and restart the server\n\
             3. sign again what `firmseal keys signed {old}` lists\n\
             4. firmseal keys disable {old} --at DATE --why \"rotated to {new}\"",
            settings.display(),
            layout::SIGNING,
            new = self.new,
            old = self.old,
        ));
        let made = Made {
            name: self.new,
            replaces: self.old,
            id: public.id().to_string(),
            algorithm: public.algorithm().to_string(),
            public: public.to_pem()?,
        };
        output.value(&made, || {
            format!(
                "name       {}\nid         {}\nalgorithm  {}\n{}",
                made.name, made.id, made.algorithm, made.public
            )
        })
    }
}

/// Adds a table to the settings, whole or not at all.
fn append(path: &std::path::Path, table: &str) -> Result {
    let mut text = std::fs::read_to_string(path).map_err(file(path))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push('\n');
    text.push_str(table);
    let mode = std::fs::metadata(path).map_err(file(path))?.permissions().mode();
    newfile::replace(path, mode & 0o777, text.as_bytes())
}
