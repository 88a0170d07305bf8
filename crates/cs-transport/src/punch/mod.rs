//! Hole punching: a machine that drives one attempt of one side, without a socket and without a clock (TP-33 to TP-36).
//!
//! Both sides know each other's candidates and a common [`CheckKey`], from a [`Connect`](crate::wire::Connect) that went
//! each way. Each side checks all of the other's addresses at once; a check opens a hole in the sender's NAT, and an
//! answer proves that a path works both ways. Ports that a NAT will use are foreseen where it counts, and found by chance
//! where it draws them.

mod check;
mod machine;
mod plan;

pub use check::{CheckKey, check_id};
pub use machine::{Base, Output, Punch, PunchConfig, PunchFault, Target, TargetState};
pub use plan::{TargetKind, judge_ports};

pub(crate) use check::is_allowed;
