//! Asking a STUN server, from the shared socket: the answer is the address that peers see too (TP-15).

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::addresses::canonical;
use super::endpoint::{Shared, entropy};
use super::event::Event;
use super::rpc::RpcError;
use crate::rpc::RpcRefused;
use crate::stun::{Message, TransactionId, binding_request, read_binding_answer};

/// Wait for the first answer (RFC 8489 section 6.2.1); doubles with each further datagram.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// What this node sends to itself is sent again this often: nobody else has work with it.
const REFLECT_AGAIN: Duration = Duration::from_millis(200);

/// Binding requests that wait for their answer.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    waiting: Mutex<BTreeMap<TransactionId, Waiting>>,
    /// Requests that come back to this node itself.
    reflected: Mutex<BTreeMap<TransactionId, oneshot::Sender<SocketAddr>>>,
}

#[derive(Debug)]
struct Waiting {
    server: SocketAddr,
    answer: oneshot::Sender<SocketAddr>,
}

impl Bindings {
    /// Passes an answer to whoever waits for it; `false` if nobody does.
    pub(crate) fn answer(&self, from: SocketAddr, message: &Message<'_>) -> bool {
        let mut waiting = self.lock();
        if waiting.get(&message.transaction()).is_none_or(|request| request.server != from) {
            return false;
        }
        let Ok(address) = read_binding_answer(message) else { return false };
        waiting
            .remove(&message.transaction())
            .is_some_and(|request| request.answer.send(canonical(address)).is_ok())
    }

    /// Takes a request that this node sent to itself, and that came from there; `false` if it is somebody else's.
    pub(crate) fn reflect(&self, from: SocketAddr, message: &Message<'_>) -> bool {
        let sender = self.reflected().remove(&message.transaction());
        // Who asked may have given up.
        sender.is_some_and(|sender| sender.send(canonical(from)).is_ok())
    }

    fn reflected(&self) -> MutexGuard<'_, BTreeMap<TransactionId, oneshot::Sender<SocketAddr>>> {
        self.reflected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TransactionId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks `server`; repeats the same request (it changes nothing there) until `limit`.
pub(crate) async fn observe(
    shared: &Shared,
    server: SocketAddr,
    limit: Duration,
) -> Result<SocketAddr, RpcError> {
    let server = canonical(server);
    let transaction = entropy().map_err(|_| RpcRefused::UnusableKey)?;
    let (sender, mut answer) = oneshot::channel();
    shared.bindings.lock().insert(transaction, Waiting { server, answer: sender });
    let request = binding_request(transaction);
    let ask = async {
        let mut wait = FIRST_WAIT;
        loop {
            shared.datagrams.send(server, request.clone());
            let again_at = Instant::now() + wait;
            wait *= 2;
            tokio::select! {
                address = &mut answer => return address.map_err(|_| RpcError::Timeout),
                () = sleep_until(again_at) => {}
            }
        }
    };
    let address = timeout(limit, ask).await.unwrap_or(Err(RpcError::Timeout));
    shared.bindings.lock().remove(&transaction);
    let addr = address?;
    if let Some(report) = shared.reach.observed(addr) {
        shared.events.try_send(Event::NatChanged(report));
    }
    shared.events.try_send(Event::AddressObserved { addr });
    Ok(addr)
}

/// Sends a request to an address that leads back here, and again until `limit`: from where it arrives.
pub(crate) async fn reflected(shared: &Shared, to: SocketAddr, limit: Duration) -> Option<SocketAddr> {
    let transaction = entropy().ok()?;
    let (sender, mut arrived) = oneshot::channel();
    shared.bindings.reflected().insert(transaction, sender);
    let send = async {
        loop {
            shared.datagrams.send(to, binding_request(transaction));
            tokio::select! {
                from = &mut arrived => return from.ok(),
                () = sleep(REFLECT_AGAIN) => {}
            }
        }
    };
    let from = timeout(limit, send).await.ok().flatten();
    shared.bindings.reflected().remove(&transaction);
    from
}
