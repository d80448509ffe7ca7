//! Enrolment: how a device gets its trust anchor, key and certificate.

use firmseal_api::client::Client;
use firmseal_api::enrolment::Enrol;
use firmseal_manifest::DeviceId;
use tracing::info;

use crate::config::Config;
use crate::deps::Deps;
use crate::error::Error;
use crate::identity::Identity;
use crate::state::State;

/// What makes a device one of a fleet, or at least of a product.
pub struct Enrolment<'a> {
    /// Root document version 1.
    pub anchor: &'a [u8],
    /// The server, where there is one.
    pub server: Option<ServerEnrolment<'a>>,
}

/// How a device enrols with its server.
pub struct ServerEnrolment<'a> {
    /// `https://host:port`.
    pub url: &'a str,
    /// The one-time token.
    pub token: &'a str,
    /// The authorities that the server is checked against, in PEM.
    pub authority: &'a [u8],
}

/// Gives a device its trust anchor and, where there is a server, its
/// certificate. The key is made on the device and stays there.
pub async fn enrol(
    config: &Config,
    deps: &Deps,
    enrolment: &Enrolment<'_>,
) -> Result<Option<DeviceId>, Error> {
    let dir = &config.state;
    deps.files.create_dir(dir).map_err(|err| Error::storage(dir, err))?;
    let identity = Identity::new(deps.files.clone(), dir);
    if identity.certificate()?.is_some() {
        return Err(Error::AlreadyEnrolled);
    }
    // Checked before it is kept: a device with a bad anchor trusts nobody.
    State::new(config.clone(), enrolment.anchor.to_vec(), deps)?;
    identity.keep_anchor(enrolment.anchor)?;
    let Some(server) = &enrolment.server else { return Ok(None) };
    let mut builder = Client::builder(server.url).authorities(server.authority);
    if config.no_clock {
        builder = builder.dangerous().ignore_dates();
    }
    let enrol = Enrol { token: server.token.to_owned(), csr: identity.request()? };
    let enrolled = builder.build()?.device().enrol(&enrol).await?;
    if enrolled.product != config.product {
        let (ours, theirs) = (config.product.to_string(), enrolled.product.to_string());
        return Err(Error::OtherProduct { ours, theirs });
    }
    identity.keep_server(server.url)?;
    identity.keep_authority(server.authority)?;
    // The certificate is last: with it the device is enrolled.
    identity.keep_certificate(&enrolled.certificate)?;
    info!(device = %enrolled.device, product = %enrolled.product, "enrolled");
    Ok(Some(enrolled.device))
}
