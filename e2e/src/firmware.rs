//! Firmware: the real thing, from Debian's packages.

use std::path::{Path, PathBuf};

/// An image from a Debian package.
#[derive(Clone, Copy)]
pub struct Image {
    path: &'static str,
    package: &'static str,
}

/// U-Boot for QEMU's 64-bit Arm machine.
pub const U_BOOT: Image = Image { path: "/usr/lib/u-boot/qemu_arm64/u-boot.bin", package: "u-boot-qemu" };
/// U-Boot for its 64-bit RISC-V machine.
pub const U_BOOT_RISCV: Image =
    Image { path: "/usr/lib/u-boot/qemu-riscv64/u-boot.bin", package: "u-boot-qemu" };
/// OpenSBI for RISC-V.
pub const OPENSBI: Image =
    Image { path: "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin", package: "opensbi" };
/// OVMF, UEFI for PCs.
pub const OVMF: Image = Image { path: "/usr/share/OVMF/OVMF_CODE_4M.fd", package: "ovmf" };

impl Image {
    /// Its path.
    pub fn path(self) -> PathBuf {
        let path = Path::new(self.path);
        assert!(
            path.is_file(),
            "{} of Debian's package {} is missing: run `cargo xtask setup`",
            self.path,
            self.package
        );
        path.to_owned()
    }

    /// Its bytes.
    pub fn bytes(self) -> Vec<u8> {
        std::fs::read(self.path()).unwrap()
    }
}

/// The next build of an image: same length, a few bytes different.
pub fn rebuilt(image: &[u8]) -> Vec<u8> {
    let mut next = image.to_vec();
    for at in [next.len() / 3, next.len() / 2] {
        next[at] ^= 0xff;
    }
    next
}
