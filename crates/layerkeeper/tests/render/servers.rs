//! One deploy to four servers.

use layerkeeper::render::servers::ServerTold;
use layerkeeper_http::wire::PublicJob;

use super::sample::{public_job, public_shipped};

/// It went well, it was here already, it failed, and nobody answered.
pub fn servers() -> Vec<ServerTold> {
    let of = |number: u32, exit_code: u8, job: PublicJob| ServerTold {
        url: format!("https://deploy-{number}.example.net:9317"),
        exit_code,
        state: job.state.clone(),
        id: Some(job.id.clone()),
        job: Some(job),
        error: None,
    };
    let gone = "the daemon does not answer at https://deploy-4.example.net:9317: connection | refused";
    vec![
        of(1, 0, PublicJob { image: Some("ghcr.io/acme/app:sha-2".to_owned()), ..public_shipped() }),
        of(2, 0, PublicJob { report: None, ..public_shipped() }),
        of(3, 1, PublicJob { report: None, ..public_job() }),
        ServerTold {
            url: "https://deploy-4.example.net:9317".to_owned(),
            exit_code: 3,
            state: "unreachable".to_owned(),
            id: None,
            job: None,
            error: Some(gone.to_owned()),
        },
    ]
}
