#!/bin/sh
# What the targets begin with, beside the fixtures: real files of Debian, whole where they are short and cut so that
# they still read where they are long; and real firmware in what a format's own tools make of it, where Debian has no
# file of the format. A target takes inputs as long as its longest seed, so what is long here makes it slow.
# Usage: seeds.sh VENV INTO, as `cargo xtask fuzz` calls it. One directory for each target, by its name.
set -eu
venv=$1 into=$2
cd "$(dirname "$0")"
fixtures=$PWD/../crates/formats/fixtures
share=$venv/share
PATH=$venv/bin:$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
# What the tools say is for whoever asks why one failed.
exec 3>&2 >"$into.log" 2>&1
trap 'status=$?; [ $status = 0 ] || tail -n 5 "$into.log" >&3; rm -rf "$work"' EXIT

real() { # target, files: from the root, or from where set-up unpacks what it does not install
    mkdir -p "$into/$1"
    target=$1
    shift
    for file; do
        for place in "" "$share/" "$share/real/"; do
            [ ! -f "$place$file" ] || cp "$place$file" "$into/$target/real-$(basename "$file")"
        done
        [ -f "$into/$target/real-$(basename "$file")" ] || { echo "$file is not here" && false; }
    done
}
made() { # target, name: where to write
    mkdir -p "$into/$1"
    echo "$into/$1/made-$2"
}

# Real firmware: a table for ACPI (4,585 bytes) and a video BIOS (28 KiB).
seabios=$share/real/usr/share/seabios
cp "$seabios/acpi-dsdt.aml" "$work/small.img"
cp "$seabios/vgabios-bochs-display.bin" "$work/large.img"
for name in p256 ed25519 rsa2048; do openssl pkey -inform DER -in "$fixtures/keys/$name.p8" -out "$work/$name.pem"; done
openssl req -x509 -new -key "$work/p256.pem" -subj /CN=p256 -days 3650 -set_serial 1 -out "$work/p256.crt" \
    -addext extendedKeyUsage=codeSigning,emailProtection

real pe boot/memtest86+x64.efi boot/memtest86+ia32.efi /usr/libexec/fwupd/efi/fwupdx64.efi.signed \
    /usr/lib/shim/fbx64.efi.signed /usr/lib/systemd/boot/efi/linuxx64.efi.stub \
    usr/share/refind/refind/tools_x64/gptsync_x64.efi usr/share/refind/refind/drivers_x64/ext4_x64.efi

real kmod kernel/modules/adiantum.ko kernel/modules/algif_hash.ko kernel/modules/af_alg.ko

arduino=usr/share/arduino/hardware/arduino/avr/bootloaders
real hex $arduino/atmega/ATmegaBOOT_168_atmega1280.hex $arduino/bt/ATmegaBOOT_168_atmega328_bt.hex \
    $arduino/stk500v2/stk500boot_v2_mega2560.hex $arduino/optiboot/optiboot_atmega328.hex
{ head -n 200 /usr/share/firmware-microbit-micropython/firmware.hex && echo :00000001FF; } > "$into/hex/real-microbit-cut.hex"

# Images behind the tree are cut to 256 bytes each, 768 behind one another.
real fit /usr/share/qemu/bamboo.dtb /usr/share/qemu/canyonlands.dtb
rock64=$into/fit/real-rock64-cut.itb
cp "$share/u-boot/rock64.itb" "$work/rock64.itb"
head -c "$(fdtdump "$work/rock64.itb" 2>/dev/null | sed -n 's/.*totalsize:.*(\([0-9]*\)).*/\1/p')" "$work/rock64.itb" > "$rock64"
at=0
for image in $(fdtget -l "$rock64" /images); do
    fdtput -t x "$rock64" "/images/$image" data-offset "$(printf %x $at)"
    fdtput -t x "$rock64" "/images/$image" data-size 100
    at=$((at + 256))
done
head -c $(($(wc -c < "$rock64") + 3 & ~3)) /dev/zero | dd of="$work/even" status=none
dd if="$rock64" of="$work/even" conv=notrunc status=none
{ cat "$work/even" && head -c $at "$work/large.img"; } > "$rock64"
mkimage -f auto -A arm64 -O u-boot -T firmware -C none -a 0x200000 -e 0x200000 -n board -d "$work/small.img" \
    -b /usr/share/qemu/bamboo.dtb "$(made fit auto)"

capsule() { # name, mkeficapsule arguments
    name=$1
    shift
    mkeficapsule --index 1 --guid 09d7cf52-0720-4710-91d1-08469b7fe9c8 "$@" "$(made capsule "$name")"
}
capsule unsigned "$work/large.img"
capsule p256 --monotonic-count 7 --private-key "$work/p256.pem" --certificate "$work/p256.crt" "$work/small.img"

image() { # name, imgtool arguments
    name=$1
    shift
    imgtool sign -v 1.2.3+4 -H 64 -S 0x10000 --pad-header -s 7 -k "$work/p256.pem" "$@" "$(made mcuboot "$name")"
}
image large "$work/large.img"
image confirmed --confirm -S 0x2000 "$work/small.img"
image encrypted -k "$work/ed25519.pem" -E "$fixtures/keys/x25519.pub.pem" "$work/small.img"

mkdir "$work/content"
cp "$work/large.img" "$work/content/root.img"
for form in verity crypt plain; do
    printf '[update]\ncompatible=Test Board\nversion=1.2.3\n\n[bundle]\nformat=%s\n\n[image.rootfs]\nfilename=root.img\n' \
        $form > "$work/content/manifest.raucm"
    rauc --cert="$work/p256.crt" --key="$work/p256.pem" bundle "$work/content" "$(made rauc $form)"
done

mkdir "$work/swu"
cp "$work/large.img" "$work/swu/rootfs.img"
printf 'software = { version = "1.2.3"; hardware-compatibility: [ "1.0" ]; images: ( { filename = "rootfs.img"; device = "/dev/mmcblk0p2"; sha256 = "%s"; } ); };\n' \
    "$(sha256sum < "$work/large.img" | cut -c 1-64)" > "$work/swu/sw-description"
openssl cms -sign -binary -nosmimecap -in "$work/swu/sw-description" -signer "$work/p256.crt" -inkey "$work/p256.pem" \
    -outform DER -out "$work/swu/sw-description.sig"
package=$(made swupdate cms)
(cd "$work/swu" && printf '%s\n' sw-description sw-description.sig rootfs.img | cpio -o --quiet -H crc) > "$package"

openssl ec -in "$work/p256.pem" -out "$work/p256.sec1"
for size in small large; do
    mender-artifact write rootfs-image --no-progress -n release-1 -t board -f "$work/$size.img" --software-version 1.2.3 \
        -k "$work/p256.sec1" -o "$(made mender $size)"
done

# The examples of SUIT's own draft, and real firmware in an envelope.
mkdir -p "$into/suit"
python -c 'import pathlib, sys
sys.path.insert(0, sys.argv[1])
import suit
keys, out, payload = suit.Keys(sys.argv[2]), pathlib.Path(sys.argv[3]), open(sys.argv[2] + "/small.img", "rb").read()
for name, manifest, severed in suit.examples():
    (out / f"made-{name}").write_bytes(suit.wrap(manifest, severed, [keys.sign1("p256")]))
envelope = suit.wrap(suit.integrated(payload), {}, [keys.sign1("p256")], [("#app.bin", payload)])
(out / "made-integrated").write_bytes(envelope)' "$fixtures/../judges" "$work" "$into/suit"

tests=usr/share/installed-tests/fwupd
# The ones of Debian name two payloads, which is refused behind the cabinet's own structures.
mkdir "$work/cab"
(
    cd "$work/cab"
    gcab -x "$fixtures/fwupd/unsigned.bin"
    sed -i "s/$(sha256sum < firmware.img | cut -c 1-64)/$(sha256sum < ../large.img | cut -c 1-64)/" board.metainfo.xml
    cp ../large.img firmware.img
    gcab -n -c plain.cab board.metainfo.xml firmware.img
    gcab -z -n -c packed.cab board.metainfo.xml firmware.img
)
for form in plain packed; do cp "$work/cab/$form.cab" "$(made fwupd $form)"; done
real fwupd $tests/fakedevice123.cab $tests/fakedevice124.cab
real jcat $tests/fakedevice124.jcat
cp "$fixtures/fwupd/beside.bin" "$(made jcat beside)"

# What Espressif's own stub for each chip is made of.
for chip in 0:esp32 5:esp32c3 13:esp32c6; do
    python -c 'import base64, esptool, json, pathlib, sys
stub = pathlib.Path(esptool.__file__).parent / "targets/stub_flasher/2" / (sys.argv[1] + ".json")
sys.stdout.buffer.write(base64.b64decode(json.loads(stub.read_text())["text"]))' ${chip#*:} > "$work/stub"
    python "$fixtures/esp32.py" ${chip%:*} v1.2.3 7 "$work/stub" > "$work/app"
    espsecure sign-data --version 2 --keyfile "$work/p256.pem" --output "$(made esp32 ${chip#*:})" "$work/app" ||
        cp "$work/app" "$(made esp32 ${chip#*:})"
done

cp "$work/large.img" "$work/boot.img"
avb() { python "$share/avb/avbtool.py" "$@" --algorithm SHA256_RSA2048 --key "$work/rsa2048.pem" --rollback_index 7; }
avb add_hash_footer --image "$work/boot.img" --partition_name boot --partition_size 102400
python "$share/avb/avbtool.py" resize_image --image "$work/boot.img" --partition_size 40960
cp "$work/boot.img" "$(made avb boot)"
avb make_vbmeta_image --output "$(made avb vbmeta)" --include_descriptors_from_image "$work/boot.img"

# Certificates of makers: what a chain of trust consists of, without the extensions that it wants.
for file in "$share"/real/etc/refind.d/keys/*.cer; do real tfa "$file"; done
certificate() { # name, cert_create arguments
    name=$1
    shift
    cert_create -n -a ecdsa --tfw-nvctr 7 --ntfw-nvctr 5 --rot-key "$work/p256.pem" --soc-fw-key "$work/p256.pem" \
        --nt-fw-key "$work/p256.pem" "$@" "$(made tfa "$name")"
}
certificate soc --soc-fw "$work/large.img" --soc-fw-cert
certificate non_trusted --nt-fw "$work/large.img" --nt-fw-cert

python "$fixtures/oci.py" layout "$work/large.img" > "$(made oci layout)"
skopeo inspect --raw "oci-archive:$into/oci/made-layout" > "$(made oci index)"

# Signatures that Debian's kernel and firmware team have made, taken out of the files that carry them.
mkdir -p "$into/cms"
python -c 'import struct, sys
module, image, into = sys.argv[1:]
module = open(module, "rb").read()
end = len(module) - len(b"~Module signature appended~\n")
length = struct.unpack(">I", module[end - 4 : end])[0]
open(into + "/real-module.p7s", "wb").write(module[end - 12 - length : end - 12])
image = open(image, "rb").read()
header = struct.unpack_from("<I", image, 60)[0]
at, size = struct.unpack_from("<II", image, header + 24 + 144)
open(into + "/real-image.p7s", "wb").write(image[at + 8 : at + size])' \
    "$share/kernel/modules/adiantum.ko" /usr/libexec/fwupd/efi/fwupdx64.efi.signed "$into/cms"
printf firmware > "$work/file"
for form in -nosmimecap -noattr -keyid; do
    openssl cms -sign -binary $form -in "$work/file" -signer "$work/p256.crt" -inkey "$work/p256.pem" -outform DER \
        -out "$(made cms openssl$form)"
done
real cms usr/share/seabios/acpi-dsdt.aml

NODE_PATH=$venv/node/node_modules node "$fixtures/sigstore.js" "$work/p256.pem" dsse "$work/large.img" > "$(made sigstore dsse)"
real sigstore usr/share/seabios/acpi-dsdt.aml

real fsverity usr/share/seabios/acpi-dsdt.aml usr/share/seabios/vgabios-bochs-display.bin

{ cat "$work/small.img" && head -c $((12288 - 4585)) "$work/large.img"; } > "$work/tree.img"
veritysetup format --hash-offset=12288 "$work/tree.img" "$work/tree.img"
cp "$work/tree.img" "$(made dmverity image)"

real raw usr/share/seabios/acpi-dsdt.aml usr/share/seabios/vgabios-bochs-display.bin

for hash in sha256 sha384; do openssl dgst -$hash -binary "$work/large.img" > "$(made digest $hash)"; done

# Bills of materials that Python's packages carry.
for file in "$venv"/lib/python3*/site-packages/*.dist-info/sboms/*.json; do
    [ "$(wc -c < "$file")" -gt 25000 ] || real evidence "$file"
done
