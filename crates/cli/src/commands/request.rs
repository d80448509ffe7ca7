//! `firmseal request`: releases and signatures that wait for people.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use firmseal_api::client::{Client, ClientError};
use firmseal_api::requests::{RequestState, SigningRequest};
use firmseal_api::signatures::{RequestKind, SignatureQuery, SignatureRequest, SignatureState};
use firmseal_manifest::RequestId;
use http::StatusCode;

use super::approve::Carried;
use super::approve::source::{Source, read_json};
use super::request_record::{self, missing, state};
use super::{block_on, listing};
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;

/// List, show and take back signing requests that wait for approvals
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal request list
  firmseal request show req-0197c0de-0000-7000-8000-000000000001
  firmseal approve req-0197c0de-0000-7000-8000-000000000001 --ssh ~/.ssh/id_ed25519_sk.pub")]
pub enum Requests {
    /// List signing requests, newest first; those that wait, unless told
    #[command(after_help = "Example:
  firmseal request list --all
  firmseal request list --files
  firmseal request list --orders")]
    List {
        /// Those that were closed, too
        #[arg(long)]
        all: bool,
        /// Requests for signatures of files, instead of those for releases
        #[arg(long, conflicts_with = "orders")]
        files: bool,
        /// Orders for releases that are queued or held, instead of those that
        /// wait for approvals
        #[arg(long)]
        orders: bool,
    },
    /// Show a signing request, who agreed to it, and who is missing
    #[command(after_help = "Example:
  firmseal request show req-0197c0de-0000-7000-8000-000000000001")]
    Show {
        /// The request
        request: RequestId,
    },
    /// Copy a request with everything it is about into a new folder, for an
    /// approver without a network
    #[command(after_help = "Example:
  firmseal request export req-0197c0de-0000-7000-8000-000000000001 -o request-17")]
    Export {
        /// The request
        request: RequestId,
        /// The folder to make
        #[arg(long, short, value_name = "DIR")]
        output: PathBuf,
    },
    /// Bring approvals that were written without a network
    #[command(after_help = "Example:
  firmseal request add ann.json ben.json")]
    Add {
        /// What `firmseal approve --from` wrote, all for one request
        #[arg(required = true, value_name = "FILE")]
        approvals: Vec<PathBuf>,
    },
    /// Take back the approvals that you brought, while the request waits
    #[command(after_help = "Example:
  firmseal request withdraw req-0197c0de-0000-7000-8000-000000000001")]
    Withdraw {
        /// The request
        request: RequestId,
    },
    /// End the hold on a request, for a file or a release, as an officer who did not ask for it
    #[command(after_help = "Example:
  firmseal request release req-0197c0de-0000-7000-8000-000000000001")]
    Release {
        /// The request
        request: RequestId,
    },
    /// Take a signing request back before it is signed
    #[command(after_help = "Example:
  firmseal request cancel req-0197c0de-0000-7000-8000-000000000001")]
    Cancel {
        /// The request
        request: RequestId,
    },
}

impl Requests {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            let operator = client.operator();
            let request = match self {
                Requests::List { all, files: true, .. } => {
                    return list_jobs(&client, RequestKind::File, all, output).await;
                }
                Requests::List { all, orders: true, .. } => {
                    return list_jobs(&client, RequestKind::Release, all, output).await;
                }
                Requests::List { all, .. } => return list(&client, all, output).await,
                Requests::Export { request, output: folder } => {
                    Source::Server(Box::new(client.clone())).copy(request, &folder, output).await?
                }
                Requests::Add { approvals } => add(&client, &approvals).await?,
                Requests::Release { request } => {
                    let request = operator.release_signature(request).await?;
                    return output.value(&request, || request_record::print(&request).print());
                }
                Requests::Show { request } => match Found::fetch(&client, request).await? {
                    Found::Release(request) => *request,
                    Found::Order(request) | Found::File(request) => {
                        return output.value(&request, || request_record::print(&request).print());
                    }
                },
                Requests::Withdraw { request: id } => match Found::fetch(&client, id).await? {
                    Found::Release(_) | Found::Order(_) => operator.withdraw_approvals(id).await?,
                    Found::File(_) => {
                        let request = operator.withdraw_signature_approvals(id).await?;
                        return output.value(&request, || request_record::print(&request).print());
                    }
                },
                Requests::Cancel { request: id } => match Found::fetch(&client, id).await? {
                    Found::Release(_) => operator.cancel_request(id).await?,
                    Found::Order(_) | Found::File(_) => {
                        let request = operator.cancel_signature(id).await?;
                        return output.value(&request, || request_record::print(&request).print());
                    }
                },
            };
            output.value(&request, || print(&request).print())
        })
    }
}

/// What a request asks for: ids do not tell.
pub(super) enum Found {
    /// A release that people agree to, or agreed to.
    Release(Box<SigningRequest>),
    /// A release that nobody was asked to agree to, or whose turn comes now
    /// that they have.
    Order(Box<SignatureRequest>),
    /// The signature of a file.
    File(Box<SignatureRequest>),
}

impl Found {
    /// Looks a request up.
    pub(super) async fn fetch(client: &Client, id: RequestId) -> Result<Found> {
        let absent = |error: &ClientError| error.status() == Some(StatusCode::NOT_FOUND);
        let order = match client.operator().signature(id, Duration::ZERO).await {
            Ok(request) if request.kind == RequestKind::File => return Ok(Found::File(Box::new(request))),
            Ok(order) => Some(order),
            Err(error) if absent(&error) => None,
            Err(error) => return Err(error.into()),
        };
        match (order, client.operator().signing_request(id).await) {
            (Some(order), Ok(_)) if matches!(order.state, SignatureState::Queued | SignatureState::Held) => {
                Ok(Found::Order(Box::new(order)))
            }
            (_, Ok(request)) => Ok(Found::Release(Box::new(request))),
            (Some(order), Err(error)) if absent(&error) => Ok(Found::Order(Box::new(order))),
            (_, Err(error)) => Err(error.into()),
        }
    }
}

async fn list(client: &Client, all: bool, output: &Output) -> Result {
    let state = (!all).then_some(RequestState::Waiting);
    let requests = listing::all(async |page| client.operator().signing_requests(state, &page).await).await?;
    let headings = ["REQUEST", "PRODUCT", "VERSION", "SEQUENCE", "STATE", "MISSING", "REQUESTER"];
    output.table(&requests, &headings, |request| {
        vec![
            request.id.to_string(),
            request.product.to_string(),
            request.version.to_string(),
            request.sequence.to_string(),
            format!("{:?}", request.state).to_lowercase(),
            request.missing.to_string(),
            request.requester.clone(),
        ]
    })
}

/// Requests for signatures, or orders: all of them, or those that wait for
/// somebody. Orders wait for approvals in the other list.
async fn list_jobs(client: &Client, kind: RequestKind, all: bool, output: &Output) -> Result {
    let states = match (all, kind) {
        (true, _) => vec![None],
        (false, RequestKind::File) => vec![Some(SignatureState::Waiting), Some(SignatureState::Held)],
        (false, RequestKind::Release) => vec![Some(SignatureState::Held), Some(SignatureState::Queued)],
    };
    let mut requests = Vec::new();
    for state in states {
        let found = listing::all(async |page| {
            let query = SignatureQuery { state, after: page.after, limit: page.limit, ..Default::default() };
            client.operator().signatures(&query).await
        });
        requests.extend(found.await?.into_iter().filter(|request| request.kind == kind));
    }
    let headings = ["REQUEST", "PRODUCT", "VERSION", "KEY", "STATE", "MISSING", "REQUESTER"];
    output.table(&requests, &headings, |request| {
        vec![
            request.id.to_string(),
            request.product.to_string(),
            request.version.to_string(),
            request.key.clone(),
            state(request),
            missing(request).map_or("-".to_owned(), |missing| missing.to_string()),
            request.requester.clone(),
        ]
    })
}

/// Sends approvals that were carried here, until there are enough; the
/// request as it stands then.
async fn add(client: &Client, paths: &[PathBuf]) -> Result<SigningRequest> {
    let mut carried: Vec<Carried> = Vec::new();
    for path in paths {
        let next: Carried = read_json(path)?;
        if let Some(first) = carried.first()
            && first.request != next.request
        {
            let what = format!("is for {}, and another one for {}", next.request, first.request);
            return Err(CliError::new(Kind::Usage, what).about(path.display()));
        }
        carried.push(next);
    }
    let mut answer = Err(CliError::new(Kind::Usage, "name the approvals"));
    for (Carried { request, approve }, path) in carried.iter().zip(paths) {
        let sent = client.operator().approve(*request, approve).await;
        let now = sent.map_err(|error| CliError::from(error).about(path.display()))?;
        let enough = now.state != RequestState::Waiting;
        answer = Ok(now);
        if enough {
            break;
        }
    }
    answer
}

/// A signing request as people read it.
pub(super) fn print(request: &SigningRequest) -> Record {
    let mut record = Record::new()
        .row("request", request.id)
        .row("product", &request.product)
        .row("version", format_args!("{} on {}", request.version, request.channel))
        .row("sequence", request.sequence)
        .row("epoch", request.epoch)
        .row("manifest", request.manifest)
        .row("requester", &request.requester)
        .row("state", format!("{:?}", request.state).to_lowercase());
    for approval in &request.approvals {
        record = record.row("agreed", format_args!("{} with key {}", approval.holder, approval.key));
    }
    if request.state == RequestState::Waiting {
        record = record.row("missing", request.missing);
    }
    record
}
