//! Alerts, judged by Prometheus's own promtool.

use std::path::Path;

use firmseal_e2e::Shell;

#[test]
fn alerts_fire_when_they_should() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    let t = Shell::at(&rules);
    t.ok("promtool check rules firmseal.rules.yml").says("SUCCESS");
    t.ok("promtool test rules firmseal.rules.test.yml").says("SUCCESS");
}
