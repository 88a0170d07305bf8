#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod domains;
mod map;
mod member;
mod place;
mod plan;
mod ring;
mod roles;
mod route;
mod share;
mod summary;
mod thrift;
mod tree;
pub mod wire;

pub use config::{Config, ConfigError};
pub use map::{Load, PartitionMap};
pub use member::{InvalidWeight, Member, Subnet, Weight, Zone};
pub use plan::{Move, Plan};
pub use ring::{Ring, hash_key};
pub use roles::{
    Facts, Role, Roles, RolesConfig, RolesConfigError, RolesCounters, RolesEvent, RolesFault, RolesInput,
    RolesOutput,
};
pub use route::{
    Admission, AdmissionConfig, AttemptId, Overloaded, RequestId, RouteRefused, Router, RouterConfig,
    RouterConfigError, RouterCounters, RouterInput, RouterOutput, UnknownAttempt,
};
pub use summary::{CountMin, Excess, HyperLogLog, Limits, Metric, Quantiles, Summary, Top};
pub use tree::{
    Aggregate, Coverage, Digest, Frequent, Spread, Tree, TreeConfig, TreeConfigError, TreeCounters,
    TreeFault, TreeInput, TreeOutput,
};
