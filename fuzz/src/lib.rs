#![doc = include_str!("../README.md")]

pub mod conversation;
pub mod crdt;
pub mod crypto;
pub mod dht;
pub mod gossip;
pub mod identity;
mod laws;
pub mod node;
pub mod paths;
pub mod shard;
pub mod store;
pub mod transport;
pub mod turn;

/// A function that takes any bytes and must not panic, and inputs that reach its depths.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the binary in `targets/`, and of the folder in `corpus/`.
    pub name: &'static str,
    /// Runs it; true if the bytes were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Valid encodings to begin from: each must be accepted.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them, by name.
pub const TARGETS: &[Target] = &[
    Target { name: "crdt_change", run: crdt::change, seeds: crdt::change_seeds },
    Target { name: "crdt_changes", run: crdt::changes, seeds: crdt::changes_seeds },
    Target { name: "crdt_history", run: crdt::history, seeds: crdt::history_seeds },
    Target { name: "crdt_json", run: crdt::json, seeds: crdt::json_seeds },
    Target { name: "crdt_schedule", run: crdt::schedule, seeds: crdt::schedule_seeds },
    Target { name: "crdt_schema", run: crdt::schema, seeds: crdt::schema_seeds },
    Target { name: "crdt_snapshot", run: crdt::snapshot, seeds: crdt::snapshot_seeds },
    Target { name: "crypto_epoch", run: crypto::epoch, seeds: crypto::epoch_seeds },
    Target { name: "crypto_hpke", run: crypto::hpke, seeds: crypto::hpke_seeds },
    Target { name: "crypto_invite", run: crypto::invite, seeds: crypto::invite_seeds },
    Target { name: "crypto_noise", run: crypto::noise, seeds: crypto::noise_seeds },
    Target { name: "crypto_prekeys", run: crypto::prekeys, seeds: crypto::prekeys_seeds },
    Target { name: "crypto_protocol", run: crypto::protocol, seeds: crypto::protocol_seeds },
    Target { name: "crypto_ratchet", run: crypto::ratchet, seeds: crypto::ratchet_seeds },
    Target { name: "crypto_ratchet_state", run: crypto::ratchet_state, seeds: crypto::ratchet_state_seeds },
    Target { name: "crypto_secret_file", run: crypto::secret_file, seeds: crypto::secret_file_seeds },
    Target { name: "crypto_share", run: crypto::share, seeds: crypto::share_seeds },
    Target { name: "dht_machine", run: dht::machine, seeds: dht::machine_seeds },
    Target { name: "dht_record", run: dht::record, seeds: dht::record_seeds },
    Target { name: "dht_reply", run: dht::reply, seeds: dht::reply_seeds },
    Target { name: "dht_request", run: dht::request, seeds: dht::request_seeds },
    Target { name: "gossip_machine", run: gossip::machine, seeds: gossip::machine_seeds },
    Target { name: "gossip_message", run: gossip::message, seeds: gossip::message_seeds },
    Target { name: "gossip_reconcile", run: gossip::reconcile, seeds: gossip::reconcile_seeds },
    Target {
        name: "gossip_reconcile_message",
        run: gossip::reconcile_message,
        seeds: gossip::reconcile_message_seeds,
    },
    Target { name: "identity_area", run: identity::area, seeds: identity::area_seeds },
    Target { name: "identity_attestation", run: identity::attestation, seeds: identity::attestation_seeds },
    Target { name: "identity_chain", run: identity::chain, seeds: identity::chain_seeds },
    Target { name: "identity_claim", run: identity::claim, seeds: identity::claim_seeds },
    Target { name: "identity_clone", run: identity::clone, seeds: identity::clone_seeds },
    Target { name: "identity_graph", run: identity::graph, seeds: identity::graph_seeds },
    Target { name: "identity_path", run: identity::path, seeds: identity::path_seeds },
    Target { name: "identity_people", run: identity::people, seeds: identity::people_seeds },
    Target { name: "identity_person", run: identity::person, seeds: identity::person_seeds },
    Target { name: "identity_petnames", run: identity::petnames, seeds: identity::petnames_seeds },
    Target { name: "identity_policy", run: identity::policy, seeds: identity::policy_seeds },
    Target {
        name: "identity_presentation",
        run: identity::presentation,
        seeds: identity::presentation_seeds,
    },
    Target { name: "identity_statement", run: identity::statement, seeds: identity::statement_seeds },
    Target { name: "identity_text", run: identity::text, seeds: identity::text_seeds },
    Target { name: "identity_trust", run: identity::trust, seeds: identity::trust_seeds },
    Target { name: "node_file_version", run: node::file_version, seeds: node::file_version_seeds },
    Target { name: "node_message", run: node::message, seeds: node::message_seeds },
    Target { name: "node_ticket", run: node::ticket, seeds: node::ticket_seeds },
    Target { name: "shard_map", run: shard::map, seeds: shard::map_seeds },
    Target { name: "shard_roles", run: shard::roles, seeds: shard::roles_seeds },
    Target { name: "shard_roles_message", run: shard::roles_message, seeds: shard::roles_message_seeds },
    Target { name: "shard_summary", run: shard::summary, seeds: shard::summary_seeds },
    Target { name: "shard_tree", run: shard::tree, seeds: shard::tree_seeds },
    Target { name: "shard_tree_message", run: shard::tree_message, seeds: shard::tree_message_seeds },
    Target { name: "store_operation", run: store::operation, seeds: store::operation_seeds },
    Target {
        name: "transport_conversation",
        run: conversation::conversation,
        seeds: conversation::conversation_seeds,
    },
    Target { name: "transport_handshake", run: transport::handshake, seeds: transport::handshake_seeds },
    Target { name: "transport_link", run: transport::link, seeds: transport::link_seeds },
    Target { name: "transport_nat_pmp", run: transport::nat_pmp, seeds: transport::nat_pmp_seeds },
    Target { name: "transport_pcp", run: transport::pcp, seeds: transport::pcp_seeds },
    Target { name: "transport_punch", run: paths::punch, seeds: paths::punch_seeds },
    Target { name: "transport_rpc", run: transport::rpc, seeds: transport::rpc_seeds },
    Target { name: "transport_signal", run: paths::signal, seeds: paths::signal_seeds },
    Target { name: "transport_stun", run: transport::stun, seeds: transport::stun_seeds },
    Target { name: "transport_turn_client", run: turn::client, seeds: turn::client_seeds },
    Target { name: "transport_turn_frames", run: turn::frames, seeds: turn::frames_seeds },
    Target { name: "transport_turn_server", run: turn::server, seeds: turn::server_seeds },
    Target { name: "transport_upnp", run: transport::upnp, seeds: transport::upnp_seeds },
];
