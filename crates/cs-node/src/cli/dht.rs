//! What the DHT says, as people read it.

use cs_node::api::{DhtAsk, DhtFound, DhtLookup, DhtRecord, DhtStep, DhtView};

use crate::cli::args::DhtCommand;
use crate::cli::words::{count, safe, short, size, table, when};

impl From<DhtCommand> for DhtAsk {
    fn from(command: DhtCommand) -> Self {
        match command {
            DhtCommand::Find { node } => Self::Find { node },
            DhtCommand::Providers { key } => Self::Providers { key },
            DhtCommand::Get { key } => Self::Get { key },
            DhtCommand::Put { value } => Self::Put { value },
        }
    }
}

/// The answer to `dht`.
pub(crate) fn found(found: &DhtFound, now_ms: u64) -> String {
    let mut text = format!("key        {}\n", found.key);
    if let Some(replicas) = found.replicas {
        text.push_str(&format!("held by    {}\n", count(replicas, "node", "nodes")));
    }
    for record in &found.records {
        text.push_str(&self::record(record, now_ms));
    }
    text.push_str(&format!("cost       {}\n", cost(found.rpcs, found.hops, found.took_us)));
    text
}

fn record(record: &DhtRecord, now_ms: u64) -> String {
    let mut text = String::new();
    if let Some(publisher) = &record.publisher {
        let ends =
            record.expires_unix_ms.map_or_else(String::new, |at| format!(", ends {}", when(at, now_ms)));
        text.push_str(&format!("by         {publisher}, number {}{ends}\n", record.seq));
    }
    if !record.addresses.is_empty() {
        text.push_str(&format!("addresses  {}\n", record.addresses.join(", ")));
    }
    if let Some(value) = &record.value {
        text.push_str(&format!("value      {}\n", safe(value)));
    }
    text
}

/// The part of `net` that is about the DHT.
pub(crate) fn view(view: &DhtView) -> String {
    let network = view.network.map_or_else(String::new, |nodes| format!(" of about {nodes} in the network"));
    let mut text = format!("dht        {}{network}; {}\n", count(view.table, "node", "nodes"), mode(view));
    for lookup in view.lookups.iter().take(3) {
        text.push_str(&format!("\n{}", self::lookup(lookup)));
    }
    text
}

fn mode(view: &DhtView) -> String {
    match view.mode.as_str() {
        "server" => {
            let held = count(view.records, "record", "records");
            format!("answers others and holds {held} ({}) for them", size(view.record_bytes))
        }
        _ => "only asks".to_owned(),
    }
}

fn lookup(lookup: &DhtLookup) -> String {
    let cost = cost(lookup.rpcs, lookup.hops, lookup.took_us);
    let line = format!("lookup of {}: {cost}\n", short(&lookup.target));
    if lookup.steps.is_empty() {
        return line;
    }
    let head = ["ASKED", ">PATH", ">HOP", "WHY", ">TIME", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(lookup.steps.iter().map(step));
    line + &table(&rows)
}

fn step(step: &DhtStep) -> Vec<String> {
    let source = match &step.named_by {
        Some(namer) => format!("named by {}", short(namer)),
        None => "was known".to_owned(),
    };
    let again = if step.repeated { ", asked twice" } else { "" };
    vec![
        short(&step.node).to_owned(),
        (step.path + 1).to_string(),
        step.hop.to_string(),
        format!("{source}, shares {} with the target", count(step.shared_bits.into(), "bit", "bits")),
        step.took_us.map_or_else(|| "-".to_owned(), ms),
        format!("{}{again}", step.outcome),
    ]
}

fn cost(rpcs: u32, hops: u8, took_us: u64) -> String {
    let (questions, hops) = (count(rpcs.into(), "question", "questions"), count(hops.into(), "hop", "hops"));
    format!("{questions}, {hops}, {}", ms(took_us))
}

fn ms(micros: u64) -> String {
    format!("{:.1} ms", micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_tells_whom_it_asked_and_why() {
        let known = DhtStep {
            node: "a".repeat(52),
            shared_bits: 1,
            hop: 1,
            outcome: "answered".into(),
            took_us: Some(1_500),
            ..DhtStep::default()
        };
        let named = DhtStep {
            named_by: Some(known.node.clone()),
            shared_bits: 9,
            hop: 2,
            repeated: true,
            outcome: "overdue".into(),
            took_us: None,
            ..known.clone()
        };
        let told = lookup(&DhtLookup { rpcs: 3, hops: 2, steps: vec![known, named], ..DhtLookup::default() });
        for part in [
            "3 questions",
            "was known, shares 1 bit ",
            "named by aaaaaaaaaa, shares 9 bits",
            "1.5 ms",
            "asked twice",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn values_of_others_cannot_move_the_cursor() {
        let record = DhtRecord { value: Some("\u{1b}[2J".into()), ..DhtRecord::default() };
        let told = found(&DhtFound { records: vec![record], ..DhtFound::default() }, 0);
        assert!(!told.contains('\u{1b}'), "{told:?}");
    }
}
