//! Receivers behind TLS: what they are sent, and what nobody is sent who is
//! not the receiver.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use firmseal_fleet::Time;
use firmseal_fleet::audit::{AuditAction, AuditRecord, AuditSubject, Outcome};
use firmseal_notify::{Sink, SinkSettings};
use firmseal_testkit::inbox::{Arrived, Inbox, Kind, LOGIN};

fn record(number: u64) -> AuditRecord {
    AuditRecord {
        number,
        time: Time::from_millis(1_800_000_000_000),
        action: AuditAction::KeyChanged,
        outcome: Outcome::Success,
        caller: None,
        by: Some("olga".to_owned()),
        reasons: Vec::new(),
        subject: AuditSubject { key: Some("router-boot".to_owned()), ..AuditSubject::default() },
    }
}

/// A receiver of ours at an inbox, which is believed if `authority` vouches
/// for it.
fn sink(inbox: &Inbox, kind: Kind, authority: &str, password: &str, directory: &Path) -> Box<dyn Sink> {
    let address = inbox.address();
    std::fs::write(directory.join("ca.pem"), authority).unwrap();
    for (name, text) in [("hook", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), ("password", password)] {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let to = match kind {
        Kind::Webhook => format!("[to.webhook]\nurl = \"https://{address}/hook\"\nsecret = \"file:hook\""),
        Kind::Syslog => format!("[to.syslog]\nurl = \"tls://{address}\"\norigin = \"signing.example\""),
        Kind::Relay | Kind::PlainRelay => format!(
            "[to.mail]\nurl = \"smtp://{address}\"\nfrom = \"firmseal@example.com\"\n\
             to = [\"officer@example.com\"]\nuser = \"{}\"\nsecret = \"file:password\"",
            LOGIN.0
        ),
    };
    let settings = format!("name = \"auditors\"\n{to}\nauthority = \"ca.pem\"");
    toml::from_str::<SinkSettings>(&settings).unwrap().open(directory).unwrap()
}

/// Whether a line gives anything away: names, products, a password.
fn tells(arrived: &Arrived) -> bool {
    match arrived {
        Arrived::Message(_) => true,
        Arrived::Said { line, .. } => !["EHLO", "STARTTLS", "QUIT"]
            .iter()
            .any(|harmless| line.to_ascii_uppercase().starts_with(harmless)),
        Arrived::TurnedAway => false,
    }
}

#[tokio::test]
async fn syslog_over_tls_gets_each_record_over_one_connection() {
    let (mut inbox, directory) = (Inbox::start(Kind::Syslog).await, tempfile::tempdir().unwrap());
    let sink = sink(&inbox, Kind::Syslog, inbox.authority(), "", directory.path());
    for number in [1, 2, 3] {
        sink.deliver(&record(number)).await.unwrap();
        let message = inbox.message().await;
        assert!(message.starts_with("<109>1 2027-"), "{message}");
        assert!(message.contains(&format!("\"sequence\":{number}")), "{message}");
    }
}

#[tokio::test]
async fn mail_is_encrypted_before_the_login_and_the_letter() {
    let (mut inbox, directory) = (Inbox::start(Kind::Relay).await, tempfile::tempdir().unwrap());
    let sink = sink(&inbox, Kind::Relay, inbox.authority(), LOGIN.1, directory.path());
    sink.deliver(&record(9)).await.unwrap();
    let mut said = Vec::new();
    let letter = loop {
        match inbox.next().await {
            Arrived::Message(letter) => break letter,
            other => said.push(other),
        }
    };
    assert!(letter.contains("Message-ID: <audit-9@example.com>"), "{letter}");
    assert!(letter.contains("firmseal.key: router-boot"), "{letter}");
    let (open, private): (Vec<_>, Vec<_>) =
        said.iter().partition(|said| matches!(said, Arrived::Said { encrypted: false, .. }));
    assert!(!open.is_empty() && !open.iter().any(|said| tells(said)), "{open:?}");
    let login = |said: &&Arrived| matches!(said, Arrived::Said { line, .. } if line.starts_with("AUTH "));
    assert_eq!(private.into_iter().filter(login).count(), 1, "{said:?}");
}

#[tokio::test]
async fn a_login_that_the_relay_refuses_is_heard_and_not_shown() {
    let (mut inbox, directory) = (Inbox::start(Kind::Relay).await, tempfile::tempdir().unwrap());
    let sink = sink(&inbox, Kind::Relay, inbox.authority(), "another password", directory.path());
    let refused = sink.deliver(&record(1)).await.unwrap_err().to_string();
    assert!(refused.contains("535") && !refused.contains("another password"), "{refused}");
    assert!(!inbox.rest().iter().any(|arrived| matches!(arrived, Arrived::Message(_))));
}

#[tokio::test]
async fn a_relay_that_does_not_encrypt_gets_no_login_and_no_letter() {
    let (mut inbox, directory) = (Inbox::start(Kind::PlainRelay).await, tempfile::tempdir().unwrap());
    let sink = sink(&inbox, Kind::PlainRelay, inbox.authority(), LOGIN.1, directory.path());
    sink.deliver(&record(1)).await.unwrap_err();
    let said = inbox.rest();
    assert!(!said.is_empty() && !said.iter().any(tells), "{said:?}");
}

#[tokio::test]
async fn whoever_has_another_certificate_is_told_nothing() {
    for kind in [Kind::Webhook, Kind::Syslog, Kind::Relay] {
        let directory = tempfile::tempdir().unwrap();
        // Of an authority that nobody named; and of the named one, for another
        // name, as somebody has who took over another machine.
        let (stranger, other) = (Inbox::start(kind).await, Inbox::start(kind).await);
        let misplaced = Inbox::called(kind, "other.example").await;
        let own = misplaced.authority().to_owned();
        for (mut inbox, authority) in [(stranger, other.authority()), (misplaced, own.as_str())] {
            let sink = sink(&inbox, kind, authority, LOGIN.1, directory.path());
            let refused = sink.deliver(&record(1)).await.unwrap_err().to_string();
            assert!(refused.to_lowercase().contains("certificate"), "{kind:?}: {refused}");
            loop {
                match inbox.next().await {
                    Arrived::TurnedAway => break,
                    arrived => assert!(!tells(&arrived), "{kind:?}: {arrived:?}"),
                }
            }
            assert_eq!(inbox.rest(), [], "{kind:?}");
        }
    }
}
