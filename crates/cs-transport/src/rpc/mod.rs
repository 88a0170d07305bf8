//! Sealed RPC: one datagram asks, one answers, and the responder keeps nothing between them (TP-10 to TP-13).

mod guard;
mod seal;

pub(crate) use guard::Source;
pub use guard::{RateLimiter, ReplayFault, ReplayWindow};
pub use seal::{
    AnswerSlot, Call, CallId, OpenedRequest, RpcFault, RpcRefused, call_of_answer, open_request, seal_request,
};
