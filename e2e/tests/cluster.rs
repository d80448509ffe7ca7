//! The cluster that is shipped for Pacemaker, as Pacemaker's own scheduler
//! reads it: what it would do, step by step, when a machine or a server is
//! lost. No cluster runs.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Ran, Shell, binaries};

/// Simulates a step from one state of the cluster to the next, and returns
/// what is done, in order.
fn steps(t: &Shell, from: &str, what: &str, to: &str) -> Vec<String> {
    let Ran { stdout, .. } =
        t.ok(&format!("crm_simulate --quorum=1 --xml-file {from} {what} --simulate --save-output {to}"));
    let executed = stdout.split("Executing Cluster Transition:").nth(1).unwrap();
    executed
        .lines()
        .filter_map(|line| line.strip_prefix("  * "))
        .take_while(|line| !line.starts_with("Node List"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// These happen, in this order.
fn in_order(steps: &[String], expected: &[&str]) {
    let mut rest = steps.iter();
    for wanted in expected {
        assert!(rest.any(|step| step == wanted), "`{wanted}` is not where it should be in {steps:#?}");
    }
}

const SERVES_ON_B: [&str; 4] = [
    "Resource action: drbd promote on sign-b",
    "Resource action: files start on sign-b",
    "Resource action: address start on sign-b",
    "Resource action: server start on sign-b",
];

/// A cluster that serves on its first machine.
fn serving(t: &Shell) {
    let shipped = std::fs::read(binaries::workspace().join("deploy/pacemaker/cib.xml")).unwrap();
    t.write("shipped.xml", shipped);
    steps(t, "shipped.xml", "--node-up sign-a --node-up sign-b", "up.xml");
    // DRBD's agent says of both disks that they are up to date.
    let mut up = String::from_utf8(t.read("up.xml")).unwrap();
    for (id, name) in [("1", "sign-a"), ("2", "sign-b")] {
        let state = up.find(&format!("<node_state id=\"{id}\" uname=\"{name}\"")).unwrap();
        let inside = state + up[state..].find('>').unwrap() + 1;
        up.insert_str(
            inside,
            &format!(
                "<transient_attributes id=\"{id}\"><instance_attributes id=\"status-{id}\">\
                 <nvpair id=\"status-{id}-disk\" name=\"master-drbd\" value=\"10000\"/>\
                 </instance_attributes></transient_attributes>"
            ),
        );
    }
    t.write("consistent.xml", up);
    // As the how-to has it read before it is given to a cluster; of quorum it
    // warns, which only a cluster that runs has.
    t.ok("crm_verify -x consistent.xml");
    in_order(
        &steps(t, "consistent.xml", "", "serving.xml"),
        &SERVES_ON_B.map(|step| step.replace("sign-b", "sign-a")).each_ref().map(String::as_str),
    );
}

#[test]
fn a_machine_that_is_lost_is_switched_off_before_the_other_serves() {
    let t = Shell::new();
    serving(&t);
    let found = steps(&t, "serving.xml", "--node-fail sign-a", "lost.xml");
    in_order(&found, &[&["Fencing sign-a (reboot)"], &SERVES_ON_B[..]].concat());
    // Planned work moves it over without switching anything off.
    let standby = "<node id=\"1\" uname=\"sign-a\"><instance_attributes id=\"work\">\
                   <nvpair id=\"work-standby\" name=\"standby\" value=\"on\"/></instance_attributes></node>";
    let serving = String::from_utf8(t.read("serving.xml")).unwrap();
    let planned = serving.replacen("<node id=\"1\" uname=\"sign-a\"/>", standby, 1);
    assert_ne!(planned, serving);
    t.write("planned.xml", planned);
    let found = steps(&t, "planned.xml", "", "moved.xml");
    assert!(!found.iter().any(|step| step.starts_with("Fencing")), "{found:#?}");
    let leaves = ["server stop", "address stop", "files stop", "drbd demote"];
    let leaves = leaves.map(|step| format!("Resource action: {step} on sign-a"));
    in_order(&found, &[leaves.each_ref().map(String::as_str), SERVES_ON_B].concat());
}

#[test]
fn a_server_that_ends_is_started_again() {
    let t = Shell::new();
    serving(&t);
    // It does not run (7, OCF_NOT_RUNNING).
    let found = steps(&t, "serving.xml", "--op-inject server_monitor_5000@sign-a=7", "again.xml");
    in_order(&found, &["Resource action: server stop on sign-a", "Resource action: server start on sign-a"]);
}
