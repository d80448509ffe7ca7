//! `firmseal keys devicetree`: a key in U-Boot's own devicetree.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use clap::Args;
use firmseal_formats::{ControlKey, control_tree};
use serde_json::json;

use crate::commands::sign::public_key;
use crate::error::{CliError, Result, file};
use crate::newfile::{self, NewFile};
use crate::output::Output;

/// Longest devicetree that is read, and a byte more, so that a longer one is
/// refused and not cut.
const TREE_MAX: u64 = 16 * 1024 * 1024 + 1;

/// Put a key into U-Boot's devicetree
///
/// U-Boot with this devicetree starts no configuration of a FIT image that
/// the key has not signed. A key of the same name there is replaced.
#[derive(Args)]
pub struct Devicetree {
    /// The devicetree of U-Boot: u-boot.dtb, or what the board hands over
    tree: PathBuf,
    /// The public key, PEM
    #[arg(long, value_name = "FILE")]
    public: PathBuf,
    /// Its name in there: what FIT images say with `--param key-name-hint`
    #[arg(long, value_name = "NAME")]
    hint: String,
    /// Let a signature of one of the required keys be enough, where U-Boot
    /// asks for one of each: while one key follows another
    #[arg(long)]
    any: bool,
    /// The devicetree to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

impl Devicetree {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let key = public_key(&self.public)?;
        let mut tree = Vec::new();
        let opened = File::open(&self.tree).and_then(|opened| opened.take(TREE_MAX).read_to_end(&mut tree));
        opened.map_err(file(&self.tree))?;
        let wanted = ControlKey { key: &key, hint: &self.hint, any: self.any };
        let with_key =
            control_tree(&tree, &wanted).map_err(|error| CliError::from(error).about(self.tree.display()))?;
        let mut new = NewFile::create(&self.output, newfile::PUBLIC)?;
        new.write_all(&with_key).map_err(file(&self.output))?;
        new.finish()?;
        let value = json!({ "wrote": self.output, "key": key.id().to_string(), "node": format!("/signature/key-{}", self.hint) });
        output.value(&value, || {
            format!("wrote {}: key {} at /signature/key-{}\n", self.output.display(), key.id(), self.hint)
        })
    }
}
