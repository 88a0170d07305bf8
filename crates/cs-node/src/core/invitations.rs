//! Invitations made here, and what happens when somebody redeems one (NODE-6, NODE-7).

use std::collections::BTreeMap;

use cs_crypto::invite::{Code, CodeState, Exchange, Inviter, Meeting};
use cs_identity::{NodeId, SpaceId};
use cs_store::Disk;
use minicbor::{Decode, Encode};
use subtle::ConstantTimeEq;

use crate::api::Access;
use crate::core::archive::Archive;
use crate::core::host::Host;
use crate::ticket;
use crate::wire::Refusal;

const PREFIX: &[u8] = b"invitation/";

/// Key exchanges that one session may have open.
const MAX_EXCHANGES: usize = 64;

/// An invitation as it is kept.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Invitation {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    space: [u8; 32],
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    secret: [u8; 16],
    /// The short code.
    #[n(2)]
    code: String,
    #[n(3)]
    access: u8,
    #[n(4)]
    pub(crate) expires_unix_ms: u64,
    #[n(5)]
    #[cbor(with = "minicbor::bytes")]
    used_by: Option<[u8; 32]>,
    /// Somebody guessed the code wrongly; the full invitation stays good.
    #[n(6)]
    burned: bool,
}

impl Invitation {
    pub(crate) fn space(&self) -> SpaceId {
        SpaceId::from_bytes(self.space)
    }

    pub(crate) fn access(&self) -> Access {
        match self.access {
            0 => Access::Read,
            1 => Access::Write,
            _ => Access::Manage,
        }
    }

    fn id(&self) -> [u8; 16] {
        ticket::id_of(&self.secret)
    }

    /// Whether this peer may redeem it. Whoever did may ask again: the answer may have been lost.
    fn check(&self, peer: &NodeId, unix_ms: u64) -> Result<(), Refusal> {
        match self.used_by {
            Some(by) if by == *peer.as_bytes() => Ok(()),
            Some(_) => Err(Refusal::Used),
            None if unix_ms >= self.expires_unix_ms => Err(Refusal::Expired),
            None => Ok(()),
        }
    }

    pub(crate) fn is_used(&self) -> bool {
        self.used_by.is_some()
    }

    fn is_open(&self, unix_ms: u64) -> bool {
        self.used_by.is_none() && unix_ms < self.expires_unix_ms
    }
}

/// All invitations made here.
#[derive(Default)]
pub(crate) struct Invitations {
    all: BTreeMap<[u8; 16], Invitation>,
    /// Exchanges under way: one for each peer.
    exchanges: BTreeMap<NodeId, ([u8; 16], Exchange)>,
}

impl Invitations {
    /// Reads them back when the node starts; those long expired are forgotten.
    pub(crate) fn load<D: Disk>(store: &Archive<D>) -> Self {
        let kept = store
            .local_prefix(PREFIX)
            .into_iter()
            .filter_map(|(_, bytes)| minicbor::decode::<Invitation>(&bytes).ok());
        Self { all: kept.map(|i| (i.id(), i)).collect(), exchanges: BTreeMap::new() }
    }

    /// Makes one. Returns its secret and its short code.
    pub(crate) fn make<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        space: SpaceId,
        access: Access,
        expires_unix_ms: u64,
    ) -> ([u8; 16], Code) {
        let mut secret = [0; 16];
        secret.copy_from_slice(&host.random()[..16]);
        let code = Code::generate(host.random());
        let invitation = Invitation {
            space: *space.as_bytes(),
            secret,
            code: code.to_string(),
            access: match access {
                Access::Read => 0,
                Access::Write => 1,
                Access::Manage => 2,
            },
            expires_unix_ms,
            used_by: None,
            burned: false,
        };
        self.keep(store, invitation);
        (secret, code)
    }

    fn keep<D: Disk>(&mut self, store: &mut Archive<D>, invitation: Invitation) {
        let id = invitation.id();
        let bytes = minicbor::to_vec(&invitation).expect("writing to a vector cannot fail");
        store.put_local(&[PREFIX, &id].concat(), &bytes);
        self.all.insert(id, invitation);
    }

    /// A full invitation comes back. `Ok` admits its bearer; the same bearer may ask again.
    pub(crate) fn redeem(
        &self,
        host: &Host,
        peer: NodeId,
        exporter: &[u8; 32],
        id: &[u8; 16],
        proof: &[u8; 32],
    ) -> Result<Invitation, Refusal> {
        let invitation = self.all.get(id).ok_or(Refusal::Unknown)?;
        let expected = ticket::proof_of(&invitation.secret, exporter, &peer);
        if !bool::from(expected.ct_eq(proof)) {
            return Err(Refusal::Unknown);
        }
        invitation.check(&peer, host.unix_ms())?;
        Ok(invitation.clone())
    }

    /// A short code comes back: its exchange begins. Returns the answer.
    pub(crate) fn begin(
        &mut self,
        host: &mut Host,
        peer: NodeId,
        exporter: &[u8; 32],
        rendezvous: &[u8; 32],
        hello: &[u8],
    ) -> Result<Vec<u8>, Refusal> {
        let now = host.unix_ms();
        let meant = |i: &&Invitation| {
            !i.burned && i.code.parse::<Code>().is_ok_and(|c| c.rendezvous() == *rendezvous)
        };
        let invitation = self.all.values().find(meant).ok_or(Refusal::Unknown)?;
        invitation.check(&peer, now)?;
        if self.exchanges.len() >= MAX_EXCHANGES {
            self.exchanges.pop_first();
        }
        let code = invitation.code.parse::<Code>().map_err(|_| Refusal::Unknown)?;
        let meeting = Meeting { joiner: *peer.as_bytes(), inviter: *host.me.as_bytes(), binding: *exporter };
        let entropy = host.random();
        let (exchange, answer) =
            Inviter::new(code).answer(hello, meeting, entropy).map_err(|_| Refusal::Unknown)?;
        self.exchanges.insert(peer, (invitation.id(), exchange));
        Ok(answer)
    }

    /// The proof that ends an exchange. A wrong one burns the code. Returns the invitation and this side's proof.
    pub(crate) fn finish<D: Disk>(
        &mut self,
        host: &Host,
        store: &mut Archive<D>,
        peer: NodeId,
        proof: &[u8],
    ) -> Result<(Invitation, Vec<u8>), Refusal> {
        let (id, exchange) = self.exchanges.remove(&peer).ok_or(Refusal::Unknown)?;
        let mut invitation = self.all.get(&id).cloned().ok_or(Refusal::Unknown)?;
        // Exchanges begun with the same code die with it.
        if invitation.burned {
            return Err(Refusal::Unknown);
        }
        invitation.check(&peer, host.unix_ms())?;
        let code = invitation.code.parse::<Code>().map_err(|_| Refusal::Unknown)?;
        let mut inviter = Inviter::new(code);
        match inviter.admit(exchange, proof) {
            Ok((answer, _)) => Ok((invitation, answer.to_vec())),
            Err(_) => {
                debug_assert_eq!(inviter.state(), CodeState::Burned);
                invitation.burned = true;
                self.keep(store, invitation);
                Err(Refusal::Unknown)
            }
        }
    }

    /// Notes who used an invitation. Durable before anything that follows is sent.
    pub(crate) fn use_up<D: Disk>(
        &mut self,
        store: &mut Archive<D>,
        mut invitation: Invitation,
        peer: NodeId,
    ) {
        invitation.used_by = Some(*peer.as_bytes());
        self.keep(store, invitation);
    }

    /// A peer is gone, and its exchange with it.
    pub(crate) fn peer_gone(&mut self, peer: &NodeId) {
        self.exchanges.remove(peer);
    }

    /// Where the codes that are open now can be met.
    pub(crate) fn open_codes(&self, unix_ms: u64) -> Vec<[u8; 32]> {
        let open = self.all.values().filter(|i| i.is_open(unix_ms) && !i.burned);
        open.filter_map(|i| i.code.parse::<Code>().ok()).map(|c| c.rendezvous()).collect()
    }
}
