//! Keys in U-Boot's own devicetree, which says which signatures count (U-Boot,
//! doc/usage/fit/signature.rst, "Public Key Storage"): what `mkimage -K`
//! writes there, without the key.
//!
//! A key that is not marked as required is one that nobody has to sign with:
//! U-Boot, and fit_check_sign too, then start what has no signature. So each
//! one is required, for configurations.

use firmseal_manifest::PublicKey;

use super::edit::Edit;
use super::options::{Scheme, check_hint};
use super::sign::string;
use super::tree::Tree;
use crate::error::FormatError;
use crate::montgomery;
use crate::source::Source;

/// Whom messages speak of.
const NAME: &str = "devicetree";
/// Longest devicetree that is taken.
const TREE_MAX: usize = 16 * 1024 * 1024;
const NODE: &str = "signature";

/// A key as U-Boot's devicetree is to have it.
#[derive(Clone, Copy, Debug)]
pub struct ControlKey<'a> {
    /// The public key.
    pub key: &'a PublicKey,
    /// Its name there, without `key-`: that of `key-name-hint` in a FIT.
    pub hint: &'a str,
    /// Whether one of several required keys is enough, where U-Boot asks for
    /// a signature of each of them: for the time in which one follows
    /// another. `false` leaves it as it is.
    pub any: bool,
}

/// A devicetree with this key in it, in the place of one of the same name.
/// The same tree and key give the same bytes.
pub fn control_tree(tree: &[u8], wanted: &ControlKey<'_>) -> Result<Vec<u8>, FormatError> {
    check_hint(wanted.hint)?;
    if tree.len() > TREE_MAX {
        return Err(FormatError::malformed(NAME, "it is longer than 16 MiB"));
    }
    let read = Tree::read(&tree, NAME)?;
    if read.child(0, "images").is_some() {
        return Err(FormatError::malformed(NAME, "it is a FIT: keys belong into U-Boot's own devicetree"));
    }
    let mut edit = Edit::new(&read);
    let name = format!("key-{}", wanted.hint);
    let key = properties(wanted)?;
    match read.child(0, NODE) {
        Some(parent) => {
            // In an empty node both go to the same place: properties first.
            if wanted.any {
                let place = read.property_place(parent, "required-mode");
                let property = edit.property("required-mode", &string("any"));
                edit.replace(place, property);
            }
            let place = match read.child(parent, &name) {
                Some(own) => read.nodes[own].place.clone(),
                None => read.nodes[parent].inside()..read.nodes[parent].inside(),
            };
            let node = edit.node(&name, &key);
            edit.replace(place, node);
        }
        None => {
            let mode = [("required-mode", string("any"))];
            let inner = edit.node(&name, &key);
            let node = edit.parent(NODE, &mode[..usize::from(wanted.any)], &inner);
            let end = read.nodes[0].inside();
            edit.replace(end..end, node);
        }
    }
    let total = edit.len(&read).next_multiple_of(8);
    let mut out = Vec::with_capacity(total as usize);
    edit.plan(&read, Source::len(&tree)?, total).write_to(&tree, &mut out)?;
    Ok(out)
}

/// The properties of a key's node.
fn properties(wanted: &ControlKey<'_>) -> Result<Vec<(&'static str, Vec<u8>)>, FormatError> {
    let scheme = Scheme::of(wanted.key, false)?;
    let mut all = vec![
        ("required", string("conf")),
        ("algo", string(&scheme.name())),
        ("key-name-hint", string(wanted.hint)),
    ];
    match wanted.key.rsa() {
        Some((modulus, exponent)) => {
            let mut long = [0; 8];
            let start = long.len().saturating_sub(exponent.len());
            long[start..]
                .copy_from_slice(exponent.get(exponent.len().saturating_sub(8)..).unwrap_or_default());
            let bits = modulus.len() as u32 * 8;
            all.push(("rsa,num-bits", bits.to_be_bytes().to_vec()));
            all.push(("rsa,n0-inverse", montgomery::n0_inverse(modulus).to_be_bytes().to_vec()));
            all.push(("rsa,exponent", long.to_vec()));
            all.push(("rsa,modulus", modulus.to_vec()));
            all.push(("rsa,r-squared", montgomery::r_squared(modulus)));
        }
        None => {
            // 0x04, x, y (SEC 1 §2.3.3).
            let point = wanted.key.bits();
            let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
            all.push(("ecdsa,curve", string("prime256v1")));
            all.push(("ecdsa,x-point", x.to_vec()));
            all.push(("ecdsa,y-point", y.to_vec()));
        }
    }
    Ok(all)
}
