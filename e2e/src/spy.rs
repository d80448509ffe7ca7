//! Spies: a device of the fleet that writes down what it is offered, for a
//! carrier to replay and to tamper with.

use std::collections::BTreeMap;

use firmseal_api::client::Client;
use firmseal_api::enrolment::{CreateToken, Enrol};
use firmseal_api::updates::{Bootloader, DeviceState, Offer, Poll, Report, Reports};

use crate::operator::Operator;
use crate::server::Server;

/// A device that has only an identity.
pub struct Spy {
    client: Client,
    /// Its id, as it is written.
    pub id: String,
}

/// An offer and everything it leads to, byte for byte.
#[derive(Clone)]
pub struct Captured {
    /// The offer.
    pub offer: Offer,
    /// The envelope.
    pub envelope: Vec<u8>,
    /// Payloads and trees by their path.
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Spy {
    /// Enrols.
    pub fn enrol(operator: &Operator, server: &Server, product: &str) -> Spy {
        let wish = CreateToken {
            product: product.parse().unwrap(),
            labels: Default::default(),
            uses: None,
            valid_for: None,
        };
        let authority = std::fs::read(server.place().join("tls/server.pem")).unwrap();
        let builder = || Client::builder(&server.devices()).authorities(&authority);
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let enrolled = operator.wait(async {
            let token = operator.client.operator().create_enrolment_token(&wish).await.unwrap().token;
            builder().build().unwrap().device().enrol(&Enrol { token, csr }).await.unwrap()
        });
        let key = key.serialize_pem();
        let client = builder().identity(enrolled.certificate.as_bytes(), key.as_bytes()).build().unwrap();
        Spy { client, id: enrolled.device.to_string() }
    }

    /// Asks for an offer as a device that runs nothing, and fetches it all.
    pub fn capture(&self, operator: &Operator) -> Captured {
        let poll = Poll {
            state: DeviceState {
                agent: "spy".to_owned(),
                root_version: 1,
                running: None,
                hardware: None,
                bootloader: Bootloader::default(),
            },
            reports: Vec::new(),
        };
        operator.wait(async {
            let device = self.client.device();
            let offer = device.poll(&poll).await.unwrap().offer.expect("there is an offer");
            let envelope = device.envelope(offer.release).await.unwrap().to_vec();
            let release = operator.client.operator().release(offer.release).await.unwrap();
            let mut blobs = BTreeMap::new();
            for path in release.components.iter().flat_map(|component| [&component.uri, &component.tree]) {
                let mut download = self.client.download(&format!("/{path}"), 0, None, None).await.unwrap();
                let mut bytes = Vec::new();
                while let Some(piece) = download.chunk().await.unwrap() {
                    bytes.extend(piece);
                }
                blobs.insert(path.clone(), bytes);
            }
            Captured { offer, envelope, blobs }
        })
    }

    /// Sends a report; `Ok` when the server says that it is durable.
    pub async fn report(&self, report: Report) -> Result<(), firmseal_api::client::ClientError> {
        self.client.device().report(&Reports { reports: vec![report] }).await.map(drop)
    }
}
