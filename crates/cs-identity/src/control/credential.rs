use alloc::collections::BTreeMap;

use thiserror::Error;

use super::acceptance::{StatementFault, check_link};
use super::action::{Action, Grant};
use super::statement::Statement;
use crate::area::Rights;
use crate::id::{OpId, SpaceId};
use crate::node_id::NodeId;
use crate::path::BlindPath;
use crate::signed::Signed;

/// Why statements are not credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialFault {
    /// The first statement is not the genesis of the space.
    #[error("the chain does not begin with the genesis of the space")]
    NotGenesis,
    /// A statement after it is not a grant.
    #[error("the chain holds something that is not a grant")]
    NotAGrant,
    /// A link claims to be from later than now, by more than clocks differ.
    #[error("a link of the chain is dated in the future")]
    FromTheFuture,
    /// The chain is another's than the key's that was to show it.
    #[error("the chain belongs to someone else")]
    NotHolder,
    /// A link does not follow from what comes before it.
    #[error("a link of the chain does not hold: {0}")]
    BrokenLink(StatementFault),
}

/// How far a link's claimed time may be ahead of the verifier's clock, in milliseconds: what clocks of people differ by.
const MAX_AHEAD_MS: u64 = 5 * 60 * 1000;

/// What a chain from [`super::ControlGraph::credentials`] gives `holder` at `path`, for who knows nothing else of the
/// space. Revocations do not show in a chain: members ask [`super::ControlGraph::rights`] instead.
///
/// The holder must prove its ID by other means, as every session does. Costs a few comparisons a link.
///
/// # Errors
/// [`CredentialFault`] if anything in the list is out of place, even if the rest would do.
pub fn check_credentials(
    space: SpaceId,
    chain: &[Signed<Statement>],
    holder: &NodeId,
    path: &BlindPath,
    unix_ms: u64,
) -> Result<Rights, CredentialFault> {
    let (genesis, links) = chain.split_first().ok_or(CredentialFault::NotGenesis)?;
    if genesis.id() != space.genesis() || genesis.space.is_some() {
        return Err(CredentialFault::NotGenesis);
    }
    let mut rights = if genesis.author == *holder { Rights::ALL } else { Rights::NONE };
    let mut grants: BTreeMap<OpId, Grant<'_>> = BTreeMap::new();
    for link in links {
        let Action::Grant { .. } = &link.value().action else { return Err(CredentialFault::NotAGrant) };
        let grant = link.value().action.as_grant().ok_or(CredentialFault::NotAGrant)?;
        check_place(space, genesis, &grants, link, &grant).map_err(CredentialFault::BrokenLink)?;
        if link.unix_ms > unix_ms.saturating_add(MAX_AHEAD_MS) {
            return Err(CredentialFault::FromTheFuture);
        }
        if grant.holder == *holder && grant.area.covers(path, unix_ms) {
            rights = rights | grant.rights;
        }
        grants.insert(link.id(), grant);
    }
    Ok(rights)
}

fn check_place(
    space: SpaceId,
    genesis: &Signed<Statement>,
    grants: &BTreeMap<OpId, Grant<'_>>,
    link: &Signed<Statement>,
    grant: &Grant<'_>,
) -> Result<(), StatementFault> {
    if link.space != Some(space) {
        return Err(StatementFault::WrongSpace);
    }
    match grant.parent {
        None if link.author == genesis.author => Ok(()),
        None => Err(StatementFault::NoAuthority),
        Some(parent) => {
            let parent = grants.get(&parent).ok_or(StatementFault::NoSuchGrant)?;
            check_link(&link.author, link.unix_ms, parent, grant)
        }
    }
}
