//! The drill is the runbook, run: it ends well, and says when what happened.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::process::Command;

use serde_json::Value;

#[test]
fn a_stolen_key_is_rehearsed_from_the_alarm_to_the_last_device() {
    let output = Command::new(env!("CARGO_BIN_EXE_firmseal"))
        .args(["drill", "compromise", "--devices", "3", "--json"])
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((told["devices"].as_u64(), told["infected"].as_u64()), (Some(3), Some(2)));
    let refused = told["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 3, "every device was asked itself");
    assert!(refused.iter().all(|answer| answer["code"] == 209), "for the key and nothing else: {refused:?}");
    let order: Vec<&str> =
        told["timeline"].as_array().unwrap().iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    let place = |event| order.iter().position(|own| *own == event).unwrap_or_else(|| panic!("no {event}"));
    for pair in
        ["alarm", "issued", "published", "protected", "root", "released", "back", "dropped"].windows(2)
    {
        assert!(place(pair[0]) < place(pair[1]), "{pair:?} in {order:?}");
    }
    for event in ["protected", "back"] {
        assert_eq!(order.iter().filter(|own| **own == event).count(), 3, "{event}");
    }
}
