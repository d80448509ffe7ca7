//! The bytes that U-Boot hashes for a configuration, found the way U-Boot
//! finds them (boot/fdt_region.c): token by token, by path. It shares nothing
//! with what it judges.

use crate::peer::Uboot;

/// The bytes, by the list of nodes and the length of strings that stand in a
/// signature's node.
pub(crate) fn hashed(uboot: &Uboot, fit: &[u8], configuration: &str, signature: &str) -> Vec<u8> {
    uboot.write("judged.itb", fit);
    let node = format!("/configurations/{configuration}/{signature}");
    let listed = uboot.ok("fdtget", &format!("-t s judged.itb {node} hashed-nodes"));
    let listed: Vec<&str> = listed.split_whitespace().collect();
    let strings = uboot.ok("fdtget", &format!("-t u judged.itb {node} hashed-strings"));
    let strings: usize = strings.split_whitespace().nth(1).unwrap().parse().unwrap();
    let word = |at: usize| u32::from_be_bytes(fit[at..at + 4].try_into().unwrap()) as usize;
    let (structure, names) = (word(8), word(12));
    let name_at = |at: usize| {
        let end = fit[at..].iter().position(|byte| *byte == 0).unwrap();
        std::str::from_utf8(&fit[at..at + end]).unwrap()
    };
    let (mut out, mut at, mut path) = (Vec::new(), structure, Vec::<&str>::new());
    let (mut wanted, mut stack) = (0, Vec::new());
    loop {
        let from = at;
        let token = word(at);
        at += 4;
        let included = match token {
            1 => {
                let name = name_at(at);
                at += (name.len() + 1).next_multiple_of(4);
                path.push(name);
                stack.push(wanted);
                let whole = if path.len() == 1 { "/".to_owned() } else { path.join("/") };
                wanted = if listed.contains(&whole.as_str()) {
                    2
                } else if wanted > 0 {
                    wanted - 1
                } else {
                    0
                };
                wanted > 0
            }
            2 => {
                let included = wanted > 0;
                wanted = stack.pop().unwrap();
                path.pop();
                included
            }
            3 => {
                let (len, name) = (word(at), name_at(names + word(at + 4)));
                at += 8 + len.next_multiple_of(4);
                wanted == 2 && !["data", "data-size", "data-position", "data-offset"].contains(&name)
            }
            9 => true,
            token => panic!("token {token}"),
        };
        if included {
            out.extend_from_slice(&fit[from..at]);
        }
        if token == 9 {
            break;
        }
    }
    out.extend_from_slice(&fit[names..names + strings]);
    out
}
