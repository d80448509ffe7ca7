//! `firmseal token`: the tokens operators use.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use firmseal_api::access::{CreateOperatorToken, OperatorToken};
use firmseal_fleet::{Role, Scope};
use firmseal_manifest::{ChannelName, ProductId};
use serde_json::json;
use uuid::Uuid;

use super::block_on;
use crate::error::Result;
use crate::operator::{self, Rights};
use crate::output::Output;
use crate::place::Place;
use crate::profile::Profile;
use crate::record::Record;
use crate::units::Span;
use crate::validity::Validity;

/// Make, list and revoke operators' tokens
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal token create ci --role signer --valid-for 30d > ci.token
  firmseal token list")]
pub enum Tokens {
    /// Make a token; its secret is printed once and kept nowhere
    ///
    /// The secret alone goes to stdout.
    #[command(after_help = "Examples:
  firmseal token create ci --role signer --valid-for 30d > ci.token
  firmseal token create ci --role signer --team boards --product gateway --channel beta > ci.token
  firmseal token create alice --role auditor --role operator
  firmseal token create admin --role admin --role auditor --place /srv/firmseal > admin.token

Roles add up; none contains another:
  auditor   reads everything that is not secret
  signer    uploads artifacts and asks for signatures
  approver  brings approvals
  operator  enrols and revokes devices, starts and halts rollouts
  officer   answers for keys, policies, holds and trust documents
  admin     creates products and credentials

Signers and approvers read what is signed: products, artifacts, requests,
releases and trust documents.")]
    Create(Create),
    /// List tokens, without their secrets
    #[command(after_help = "Example:
  firmseal token list")]
    List,
    /// Revoke a token, for good
    #[command(after_help = "Example:
  firmseal token revoke 0197c0de-0000-7000-8000-000000000001")]
    Revoke {
        /// The token's id, as `token list` shows it
        token: Uuid,
    },
}

/// Make a token
#[derive(Args)]
pub struct Create {
    /// Who will hold it: a person's or a pipeline's name
    name: String,
    /// What it may do; give it again for more
    #[arg(long, value_parser = role(), required = true)]
    role: Vec<Role>,
    /// The team that answers for its holder
    #[arg(long)]
    team: Option<String>,
    /// Only for this product; give it again for more. For all unless told
    #[arg(long, value_name = "PRODUCT")]
    product: Vec<ProductId>,
    /// Only for this channel; give it again for more
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<ChannelName>,
    /// Only with this signing key, by its name; give it again for more
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,
    /// How long it is valid: 90 days unless told
    #[arg(long, value_name = "SPAN")]
    valid_for: Option<Span>,
    /// Make it in the store of this place, while no server runs: for whoever
    /// has no token left that works
    #[arg(long, value_name = "DIRECTORY")]
    place: Option<PathBuf>,
}

impl Create {
    /// Writes into the store itself: whoever can read its files needs no
    /// token to change them.
    async fn make(self, place: &Path, output: &Output) -> Result {
        let store = Place::open(place)?.store()?;
        let scope = Scope {
            products: self.product.into_iter().collect(),
            channels: self.channel.into_iter().collect(),
            keys: self.key.into_iter().collect(),
        };
        let rights = Rights { roles: self.role.into_iter().collect(), team: self.team, scope };
        let valid_for = self.valid_for.map_or(Validity::DEFAULT, |span| Validity(Some(span.0)));
        let made = operator::create(&store, &self.name, rights, valid_for).await?;
        let expires = made.credential.expires.map(|time| time.to_string()).unwrap_or_default();
        output.note(format_args!("token {} of {}, valid until {expires}", made.credential.id, self.name));
        output.note("the secret follows; it is shown this once");
        let value = json!({
            "secret": made.secret,
            "id": made.credential.id.to_string(),
            "expires": made.credential.expires,
        });
        output.value(&value, || made.secret.clone())
    }
}

/// A role by its word; clap lists them all.
fn role() -> impl TypedValueParser<Value = Role> {
    PossibleValuesParser::new(Role::ALL.map(Role::as_str))
        .try_map(|word| Role::ALL.into_iter().find(|role| role.as_str() == word).ok_or("no such role"))
}

impl Tokens {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let this = match self {
            Tokens::Create(mut create) if create.place.is_some() => {
                let place = create.place.take().unwrap_or_default();
                return block_on(create.make(&place, output));
            }
            other => other,
        };
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            let operator = client.operator();
            match this {
                Tokens::Create(create) => {
                    let wish = CreateOperatorToken {
                        name: create.name,
                        roles: create.role.into_iter().collect(),
                        team: create.team,
                        products: create.product.into_iter().collect(),
                        channels: create.channel.into_iter().collect(),
                        keys: create.key.into_iter().collect(),
                        valid_for: create.valid_for.map(|span| span.0.as_secs()),
                    };
                    let made = operator.create_operator_token(&wish).await?;
                    output.note(print(&made.token).trim_end());
                    output.note("the secret follows; it is shown this once");
                    output.value(&made, || made.secret.clone())
                }
                Tokens::List => {
                    let tokens = operator.operator_tokens().await?.items;
                    output.table(&tokens, &["TOKEN", "NAME", "ROLES", "FOR", "EXPIRES", "STATE"], |token| {
                        vec![
                            token.id.to_string(),
                            token.name.clone(),
                            roles(token),
                            scope(token),
                            token.expires.map_or("never".to_owned(), |time| time.to_string()),
                            token.revoked.map_or("active".to_owned(), |time| format!("revoked {time}")),
                        ]
                    })
                }
                Tokens::Revoke { token } => {
                    let token = operator.revoke_operator_token(token).await?;
                    output.value(&token, || print(&token))
                }
            }
        })
    }
}

fn roles(token: &OperatorToken) -> String {
    let roles: Vec<&str> = token.roles.iter().map(|role| role.as_str()).collect();
    roles.join(", ")
}

fn scope(token: &OperatorToken) -> String {
    let mut parts = Vec::new();
    for (kind, names) in [
        ("product", token.products.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ("channel", token.channels.iter().map(ToString::to_string).collect()),
        ("key", token.keys.iter().cloned().collect()),
    ] {
        if !names.is_empty() {
            parts.push(format!("{kind} {}", names.join(", ")));
        }
    }
    if parts.is_empty() { "everything".to_owned() } else { parts.join("; ") }
}

fn print(token: &OperatorToken) -> String {
    Record::new()
        .row("token", token.id)
        .row("name", &token.name)
        .row("roles", roles(token))
        .maybe("team", token.team.as_ref())
        .row("for", scope(token))
        .row("made", token.created)
        .maybe("expires", token.expires)
        .maybe("revoked", token.revoked)
        .print()
}
