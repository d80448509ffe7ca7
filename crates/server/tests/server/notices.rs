//! Auditors are told what happens, behind TLS: by a webhook, by syslog and by
//! mail. Whoever is not the receiver is told nothing, and the receiver is
//! told when it is back.

use std::path::Path;

use firmseal_notify::SinkSettings;
use firmseal_testkit::inbox::{Arrived, Inbox, Kind, LOGIN};

use crate::bench::{Bench, product};

/// Settings of a receiver at an inbox, which is believed if `authority`
/// vouches for it.
fn settings(inbox: &Inbox, name: &str, kind: Kind, authority: &str, directory: &Path) -> SinkSettings {
    let write = |suffix: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.join(format!("{name}-{suffix}"));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    };
    let (address, authority) = (inbox.address(), write("ca.pem", authority));
    let to = match kind {
        Kind::Webhook => {
            let secret = write("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
            format!("[to.webhook]\nurl = \"https://{address}/\"\nsecret = \"file:{secret}\"")
        }
        Kind::Syslog => format!("[to.syslog]\nurl = \"tls://{address}\"\norigin = \"signing.example\""),
        Kind::Relay | Kind::PlainRelay => format!(
            "[to.mail]\nurl = \"smtp://{address}\"\nfrom = \"firmseal@example.com\"\n\
             to = [\"officer@example.com\"]\nuser = \"{}\"\nsecret = \"file:{}\"",
            LOGIN.0,
            write("password", LOGIN.1)
        ),
    };
    let text =
        format!("name = \"{name}\"\nactions = [\"release-signed\"]\n{to}\nauthority = \"{authority}\"");
    toml::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_told_to_every_receiver_and_to_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let (mut hook, mut syslog) = (Inbox::start(Kind::Webhook).await, Inbox::start(Kind::Syslog).await);
    let (mut relay, mut stranger) = (Inbox::start(Kind::Relay).await, Inbox::start(Kind::Syslog).await);
    let own = |inbox: &Inbox, name, kind| settings(inbox, name, kind, inbox.authority(), directory.path());
    let sinks = [
        own(&hook, "hook", Kind::Webhook),
        own(&syslog, "siem", Kind::Syslog),
        own(&relay, "officers", Kind::Relay),
        // Somebody else answers where this receiver was.
        settings(&stranger, "moved", Kind::Syslog, syslog.authority(), directory.path()),
    ];
    let bench = Bench::with(|config| config.notify.extend(sinks)).await;
    let admin = bench.everything().await;
    admin.operator().create_product(&product("gateway")).await.unwrap();
    let release = bench.release(&admin, "gateway", "1.0.0", &[7; 5000]).await;

    let id = release.id.to_string();
    let body = hook.message().await;
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["event"]["action"], "release-signed");
    assert_eq!(told["firmseal"]["release"], id.as_str());
    let frame = syslog.message().await;
    assert!(frame.ends_with(&body), "the same record to each: {frame}");
    let letter = relay.message().await;
    assert!(letter.contains(&format!("firmseal.release: {id}")), "{letter}");
    // It is tried, and turned away, and the others do not wait for it.
    assert_eq!(stranger.next().await, Arrived::TurnedAway);
    assert!(stranger.rest().iter().all(|arrived| *arrived == Arrived::TurnedAway));
}
