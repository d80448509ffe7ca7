//! The settings of a new place.

use std::net::{IpAddr, Ipv4Addr};

use crate::file_access;

/// `server.toml` of a new place: the operators' and the devices' listener on an
/// address, three ports in a row.
pub(super) fn server(own: IpAddr, first: u16) -> String {
    let listener = |serves: &str, address: IpAddr, port: u16| {
        format!(
            "[[listener]]\nserves = \"{serves}\"\naddress = \"{address}\"\nport = {port}\n\
             certificate = \"tls/server.pem\"\nkey = \"tls/server.key\"\n\n"
        )
    };
    format!(
        "# Firmseal's server. Unknown keys are errors; paths are relative to this file.\n\n\
         # Changes files here, in the temporary directory and below `writable` alone, and starts no program.\n\
         confine = {}\nwritable = []\n\n{}{}\
         # Anybody who reaches this one may read every verified release: open it if they may.\n{}\
         [device_ca]\ncertificate = \"tls/device-ca.pem\"\nkey = \"tls/device-ca.key\"\nvalid_days = 90\n",
        file_access::is_known(),
        listener("operator", own, first),
        listener("device", own, first + 1),
        listener("public", Ipv4Addr::LOCALHOST.into(), first + 2),
    )
}
