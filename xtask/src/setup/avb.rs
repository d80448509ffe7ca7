//! avbtool and libavb, the judges of Android's vbmeta images: no package has them,
//! Debian's source of Android's platform tools does.

use std::path::PathBuf;

use super::lists::Lists;
use super::{Wanted, python};
use crate::error::Error;

/// Where tests find them: beside other people's implementations.
fn place() -> PathBuf {
    python::directory().join("share/avb")
}

/// Makes what is not there.
pub(crate) fn ensure(_: Wanted, say: &mut dyn FnMut(&str)) -> Result<(), Error> {
    if place().join("libavb.so").is_file() {
        return Ok(());
    }
    say("building libavb");
    build().map_err(|error| {
        Error::wrong(format!(
            "avbtool and libavb are missing: {error}\nhint: put external/avb/avbtool.py of AOSP, and a libavb.so of \
             external/avb/libavb, into {}",
            place().display()
        ))
    })
}

fn build() -> Result<(), Error> {
    // Debian 12's own is for Python 2.
    let lists = Lists::newer("avb-source", "deb-src", "amd64")?;
    // Without Debian's patches, of which none is for these.
    lists.apt(&["source", "-qq", "--tar-only", "android-platform-tools"])?;
    lists.shell(
        "mkdir source && tar -C source -xf android-platform-tools_*.orig.tar.* ./external/avb && \
         cd source/external/avb && \
         cc -shared -fPIC -O2 -DAVB_COMPILATION -I. -Ilibavb/sha libavb/*.c libavb/sha/*.c -o libavb.so",
    )?;
    let source = "source/external/avb";
    lists.copy(&format!("{source}/avbtool.py"), &place().join("avbtool.py"))?;
    lists.keep(&format!("{source}/libavb.so"), &place().join("libavb.so"))
}
