//! What people ask the DHT itself, and what it tells of itself for `net` and `doctor`.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use cs_dht::{Effort, Event, Key, LookupId, Mode, Outcome, ProviderRecord, Refused, Step, Trace};
use cs_identity::NodeId;
use cs_store::Disk;

use crate::api::{
    DhtAsk, DhtFound, DhtLookup, DhtRecord, DhtStep, DhtView, Finding, Level, Problem, ProblemCode, Reply,
};
use crate::core::NodeCore;
use crate::core::commands::Answer;
use crate::core::discovery::Discovery;
use crate::core::host::Host;
use crate::core::ports::{CommandId, Output};

/// Lookups that are remembered for `net`.
const TRACES_MAX: usize = 8;

/// Questions of people under way, and how the last lookups went.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    commands: BTreeMap<LookupId, CommandId>,
    /// The newest first.
    traces: VecDeque<Trace>,
}

impl Asked {
    /// Answers the question of a person that an event is about, if it is about one.
    pub(crate) fn on_event(&mut self, host: &mut Host, event: &Event) {
        if let Event::Traced(trace) = event {
            self.traces.truncate(TRACES_MAX - 1);
            self.traces.push_front(trace.clone());
            return;
        }
        let Some((lookup, found)) = found(event) else { return };
        if let Some(id) = self.commands.remove(&lookup) {
            let is_found = !found.records.is_empty() || found.replicas.is_some_and(|replicas| replicas > 0);
            let result = if is_found { Ok(Reply::Dht(found)) } else { Err(nothing(event, &found)) };
            host.push(Output::Answer { id, result });
        }
    }
}

impl<D: Disk> NodeCore<D> {
    /// Asks the DHT; the answer follows, unless the question is wrong.
    pub(crate) fn ask_dht(&mut self, id: CommandId, ask: &DhtAsk) -> Option<Answer> {
        match self.begin_asking(ask) {
            Ok(lookup) => {
                self.discovery.asked.commands.insert(lookup, id);
                None
            }
            Err(problem) => Some(Err(problem)),
        }
    }

    fn begin_asking(&mut self, ask: &DhtAsk) -> Result<LookupId, Problem> {
        let (now, dht) = (self.host.now, &mut self.discovery.dht);
        let begun = match ask {
            DhtAsk::Find { node } => {
                let node: NodeId = node.parse().map_err(|_| {
                    usage("That is no ID of a device: `cosync id` prints one, of 52 characters.")
                })?;
                dht.find_peer(now, node)
            }
            DhtAsk::Providers { key } => dht.find_providers(now, key_of(key)?),
            DhtAsk::Get { key } => dht.get_immutable(now, Key::from_bytes(key_of(key)?)),
            DhtAsk::Put { value } => {
                dht.put_immutable(now, value.clone().into_bytes()).map(|(_, lookup)| lookup)
            }
        };
        begun.map_err(|refused| match refused {
            Refused::NoPeers => unreachable("No node of the DHT is known."),
            Refused::BadRecord => usage("A value has at most 768 bytes."),
            other => {
                Problem::new(ProblemCode::Failed, format!("The DHT refuses: {other}."), "Try again later.")
            }
        })
    }

    /// For `net`.
    pub(crate) fn dht_view(&self) -> DhtView {
        let dht = &self.discovery.dht;
        let (counters, (records, bytes)) = (dht.counters(), dht.records_held());
        DhtView {
            table: dht.table_len() as u64,
            network: dht.network_size(),
            mode: match dht.mode() {
                Mode::Server => "server".to_owned(),
                Mode::Client => "client".to_owned(),
            },
            records: records as u64,
            record_bytes: bytes as u64,
            state_bytes: dht.state_bytes() as u64,
            asked: counters.requests_sent,
            unanswered: counters.lost,
            served: counters.requests_served,
            lookups: self.discovery.asked.traces.iter().map(lookup).collect(),
        }
    }
}

impl Discovery {
    /// For `doctor`.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let finding = |level, finding: String, advice: Option<&str>| Finding {
            level,
            subject: "dht".to_owned(),
            finding,
            advice: advice.map(str::to_owned),
        };
        let dht = &self.dht;
        if dht.table_len() == 0 {
            let (text, advice) = if self.bootstrap.is_empty() {
                let advice = "Give a `--bootstrap ID@HOST:PORT`; on one local network none is needed.";
                ("No node of the DHT is known.", advice)
            } else {
                let advice = "Look at the ID and the address of `--bootstrap`, and whether UDP gets through.";
                ("No node of the DHT has answered yet.", advice)
            };
            return vec![finding(Level::Waiting, text.to_owned(), Some(advice))];
        }
        let network = dht.network_size().map_or_else(String::new, |nodes| format!(" of about {nodes}"));
        let known = counted(dht.table_len() as u64, "node");
        let table = format!("The routing table has {known}{network}: peers are found by ID.");
        let mut findings = vec![finding(Level::Fine, table, None)];
        let (records, bytes) = dht.records_held();
        findings.push(match dht.mode() {
            Mode::Server => {
                let held =
                    format!("{} ({})", counted(records as u64, "record"), counted(bytes as u64, "byte"));
                finding(Level::Fine, format!("Others may ask this node; it holds {held} for them."), None)
            }
            Mode::Client => {
                let text = "This node only asks, since strangers cannot reach it.".to_owned();
                finding(Level::Fine, text, Some("`cosync doctor net` tells why."))
            }
        });
        let counters = dht.counters();
        if counters.requests_sent >= 20 && counters.lost * 2 > counters.requests_sent {
            let text = format!("{} of {} questions had no answer.", counters.lost, counters.requests_sent);
            let advice = "Either many of the known nodes are gone, or this network drops UDP.";
            findings.push(finding(Level::Waiting, text, Some(advice)));
        }
        if let Some(last) = self.asked.traces.front() {
            let Effort { rpcs, hops, took } = last.effort;
            let cost = format!("{}, {}", counted(rpcs.into(), "question"), counted(hops.into(), "hop"));
            let text = format!("The last lookup took {} ms: {cost}.", took.as_millis());
            findings.push(finding(Level::Fine, text, Some("`cosync net` shows whom it asked, and why.")));
        }
        findings
    }
}

/// What an event says about a question of a person.
fn found(event: &Event) -> Option<(LookupId, DhtFound)> {
    let (lookup, effort, found) = match event {
        Event::Peer { lookup, id, record, effort } => {
            let record = record.iter().map(|record| DhtRecord {
                publisher: Some(record.id.to_string()),
                seq: record.seq,
                expires_unix_ms: Some(record.expires_unix_ms),
                addresses: record.addrs.iter().map(ToString::to_string).collect(),
                value: None,
            });
            (lookup, effort, of(&Key::of_peer(id), record.collect()))
        }
        Event::Providers { lookup, key, records, effort } => {
            (lookup, effort, of(key, records.iter().map(|record| provider(record)).collect()))
        }
        Event::Immutable { lookup, key, value, effort } => {
            let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).unwrap_or_else(|_| hex(bytes));
            let record =
                value.iter().map(|value| DhtRecord { value: Some(text(value)), ..Default::default() });
            (lookup, effort, of(key, record.collect()))
        }
        Event::Stored { lookup, key, replicas, effort, .. } => {
            let found = DhtFound { replicas: Some(*replicas as u64), ..of(key, Vec::new()) };
            (lookup, effort, found)
        }
        _ => return None,
    };
    let took_us = micros(effort.took);
    Some((*lookup, DhtFound { rpcs: effort.rpcs, hops: effort.hops, took_us, ..found }))
}

/// Nodes put their addresses there; what else there is, is shown as it is.
fn provider(record: &ProviderRecord) -> DhtRecord {
    let addresses = minicbor::decode::<Vec<SocketAddr>>(&record.payload);
    DhtRecord {
        publisher: Some(record.publisher.to_string()),
        seq: record.seq,
        expires_unix_ms: Some(record.expires_unix_ms),
        value: addresses.is_err().then(|| hex(&record.payload)),
        addresses: addresses.iter().flatten().map(ToString::to_string).collect(),
    }
}

fn of(key: &Key, records: Vec<DhtRecord>) -> DhtFound {
    DhtFound { key: hex(key.as_bytes()), records, ..DhtFound::default() }
}

/// Why there is nothing to show.
fn nothing(event: &Event, found: &DhtFound) -> Problem {
    if found.rpcs == 0 {
        return unreachable("No node of the DHT answers.");
    }
    let text = match event {
        Event::Stored { .. } => format!("Nobody took the value {}.", found.key),
        Event::Peer { id, .. } => format!("Of the nodes that were asked none knows where {id} is."),
        _ => format!("Of the nodes that were asked none has anything under {}.", found.key),
    };
    Problem::new(ProblemCode::NotFound, text, "`cosync net` shows whom the last lookups asked, and why.")
}

fn unreachable(text: &str) -> Problem {
    let hint = "`cosync doctor dht` tells more; `--bootstrap ID@HOST:PORT` names a node to begin with.";
    Problem::new(ProblemCode::Unreachable, text, hint)
}

fn lookup(trace: &Trace) -> DhtLookup {
    DhtLookup {
        target: hex(trace.target.as_bytes()),
        rpcs: trace.effort.rpcs,
        hops: trace.effort.hops,
        took_us: micros(trace.effort.took),
        steps: trace.steps.iter().map(step).collect(),
    }
}

fn step(step: &Step) -> DhtStep {
    let outcome = match step.outcome {
        Outcome::Answered => "answered",
        Outcome::Unneeded => "unneeded",
        Outcome::Overdue => "overdue",
        _ => "failed",
    };
    DhtStep {
        node: step.peer.id.to_string(),
        address: step.peer.addr.to_string(),
        named_by: step.named_by.map(|id| id.to_string()),
        shared_bits: step.shared_bits,
        path: step.path as u64,
        hop: step.hop,
        repeated: step.is_repeated,
        outcome: outcome.to_owned(),
        took_us: step.took.map(micros),
    }
}

fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn micros(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_of(text: &str) -> Result<[u8; 32], Problem> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() == 64);
    let bytes: Option<Vec<u8>> =
        digits.map(|digits| digits.chunks_exact(2).map(|pair| (pair[0] << 4) | pair[1]).collect());
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| usage("A key has 64 hexadecimal digits."))
}

fn usage(text: &str) -> Problem {
    Problem::new(ProblemCode::Usage, text, "`cosync help dht` shows the commands.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_64_hexadecimal_digits_and_nothing_else() {
        let text = "0123456789abcdef".repeat(4);
        assert_eq!(hex(&key_of(&text).unwrap()), text);
        assert_eq!(key_of(&text.to_uppercase()).unwrap(), key_of(&text).unwrap());
        for wrong in ["", "00", &text[1..], &format!("{text}0"), &text.replace('f', "g"), &"ä".repeat(32)] {
            assert_eq!(key_of(wrong).unwrap_err().code, ProblemCode::Usage, "{wrong}");
        }
    }
}
