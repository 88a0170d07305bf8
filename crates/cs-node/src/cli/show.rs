//! Replies as people read them.

use cs_node::api::{
    Conflict, Device, Entry, Finding, Invited, Level, LogEntry, Member, Reply, Space, SpaceState, Status,
};

use crate::cli::words::{count, safe, short, size, table, when};
use crate::cli::{dht, net};

/// What is good for a day is so for a day less the time it took to print it.
const ROUNDING_MS: u64 = 30_000;

/// The whole text of a reply, with its line breaks.
pub(crate) fn reply(reply: &Reply, now_ms: u64) -> String {
    match reply {
        Reply::Status(status) => self::status(status),
        Reply::Invited(invited) => invitation(invited, now_ms),
        Reply::Joined { name, .. } => format!("Joined `{}`.\n", safe(name)),
        Reply::Entries { entries } => self::entries(entries, now_ms),
        Reply::Document { value, .. } => format!("{value:#}\n"),
        Reply::Log { entries } => log(entries, now_ms),
        Reply::Conflicts { conflicts } => self::conflicts(conflicts, now_ms),
        Reply::Members { members } => self::members(members),
        Reply::Devices { person, is_frozen, devices } => self::own_devices(person, *is_frozen, devices),
        Reply::Consent { consent } => format!("{consent}\n"),
        Reply::Recovery { message, recovery } => recovered(message, recovery.as_deref()),
        Reply::Findings { findings } => self::findings(findings),
        Reply::Net(net) => net::text(net),
        Reply::Dht(found) => dht::found(found, now_ms),
        Reply::Done { message } => format!("{}\n", safe(message)),
    }
}

fn status(status: &Status) -> String {
    let listen = if status.listen.is_empty() { "nowhere".to_owned() } else { status.listen.join(", ") };
    let mut text = format!("node       {}\nlistening  {listen}\n", status.node);
    text.push_str(&format!("dht        {}\n", count(status.dht_contacts as u64, "node", "nodes")));
    for join in &status.joining {
        text.push_str(&format!("joining    {join}\n"));
    }
    if status.spaces.is_empty() {
        text.push_str("\nNo spaces yet: `cosync share DIR` makes one, `cosync join CODE DIR` joins one.\n");
        return text;
    }
    let head = ["SPACE", "STATE", ">FILES", ">SIZE", ">DOCUMENTS", "DEVICES", "FOLDER"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(status.spaces.iter().map(|space| {
        vec![
            safe(&space.name),
            state(space),
            space.files.to_string(),
            size(space.bytes),
            space.documents.to_string(),
            devices(space),
            space.folder.as_deref().map_or_else(|| "none".to_owned(), safe),
        ]
    }));
    text.push('\n');
    text.push_str(&table(&rows));
    let worries: String = status.spaces.iter().map(worries).collect();
    if !worries.is_empty() {
        text.push('\n');
        text.push_str(&worries);
    }
    if !status.peers.is_empty() {
        let mut rows = vec![["PEER", "ADDRESS", "SPACES"].map(str::to_owned).to_vec()];
        rows.extend(status.peers.iter().map(|peer| {
            vec![short(&peer.node).to_owned(), peer.address.clone(), safe(&peer.spaces.join(", "))]
        }));
        text.push('\n');
        text.push_str(&table(&rows));
    }
    text
}

/// What a space does, in a word or two.
pub(crate) fn state(space: &Space) -> String {
    match space.state {
        SpaceState::Scanning => "looking through the folder".to_owned(),
        SpaceState::Syncing if space.files_wanted > 0 => {
            format!("receiving {}", count(space.files_wanted, "file", "files"))
        }
        SpaceState::Syncing => "comparing".to_owned(),
        SpaceState::UpToDate => "up to date".to_owned(),
        SpaceState::Alone => "nobody connected".to_owned(),
        SpaceState::Paused => "paused".to_owned(),
        SpaceState::Stopped => "stopped".to_owned(),
    }
}

/// Who is there.
pub(crate) fn devices(space: &Space) -> String {
    match (space.connected, space.in_sync_with) {
        (0, _) => "none".to_owned(),
        (n, same) if n == same => format!("{n} in sync"),
        (n, same) => format!("{n} connected, {same} in sync"),
    }
}

/// What needs a person, a line each.
fn worries(space: &Space) -> String {
    let name = safe(&space.name);
    let mut text = String::new();
    if space.conflicts > 0 {
        let conflicts = count(space.conflicts, "path has", "paths have");
        text.push_str(&format!("{name}: {conflicts} concurrent versions: `cosync conflicts` lists them.\n"));
    }
    if space.held_deletions > 0 {
        let held = count(space.held_deletions, "deletion by others is", "deletions by others are");
        let what =
            "`cosync deletions accept` deletes here too, `cosync deletions restore` brings the files back";
        text.push_str(&format!("{name}: {held} held back: {what}.\n"));
    }
    for problem in &space.problems {
        let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", safe(&problem.path)) };
        text.push_str(&format!("{name}: {path}{}\n", safe(&problem.why)));
    }
    text
}

/// A fresh invitation, without its QR code.
pub(crate) fn invitation(invited: &Invited, now_ms: u64) -> String {
    format!(
        "On the other device, on the same network or with the same bootstrap node ({}, one use):\n\n  \
         cosync join {} DIR\n\n\
         From anywhere else, as long as this device can be reached:\n\n  \
         cosync join {} DIR\n",
        format_args!(
            "good for {}",
            when(invited.expires_unix_ms + ROUNDING_MS, now_ms).trim_start_matches("in ")
        ),
        invited.code,
        invited.invitation,
    )
}

fn entries(entries: &[Entry], now_ms: u64) -> String {
    if entries.is_empty() {
        return "Nothing here yet.\n".to_owned();
    }
    let mut rows = vec![["KIND", ">SIZE", "CHANGED", "BY", "PATH"].map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| {
        let size = if entry.kind == "file" { size(entry.size) } else { String::new() };
        let mut path = safe(&entry.path);
        if entry.conflict {
            path.push_str("  (in conflict)");
        }
        if entry.pending {
            path.push_str("  (on its way)");
        }
        vec![
            entry.kind.clone(),
            size,
            when(entry.changed_unix_ms, now_ms),
            short(&entry.author).to_owned(),
            path,
        ]
    }));
    table(&rows)
}

fn log(entries: &[LogEntry], now_ms: u64) -> String {
    if entries.is_empty() {
        return "No changes yet.\n".to_owned();
    }
    let mut rows = vec![["ID", "WHEN", "BY", "WHAT", "PATH"].map(str::to_owned).to_vec()];
    rows.extend(entries.iter().map(|entry| {
        vec![
            short(&entry.id).to_owned(),
            when(entry.unix_ms, now_ms),
            short(&entry.author).to_owned(),
            entry.what.clone(),
            safe(&entry.path),
        ]
    }));
    table(&rows)
}

fn conflicts(conflicts: &[Conflict], now_ms: u64) -> String {
    if conflicts.is_empty() {
        return "No conflicts.\n".to_owned();
    }
    let mut text = String::new();
    for conflict in conflicts {
        text.push_str(&format!("{}\n", safe(&conflict.path)));
        let mut rows = vec![["  VERSION", "WHEN", "BY", "WHAT"].map(str::to_owned).to_vec()];
        rows.extend(conflict.versions.iter().enumerate().map(|(at, version)| {
            let author = if version.mine { "this device" } else { short(&version.author) };
            let here = if at == 0 { "  (in the folder)" } else { "" };
            vec![
                format!("  {}", short(&version.id)),
                when(version.unix_ms, now_ms),
                author.to_owned(),
                format!("{}{here}", safe(&version.what)),
            ]
        }));
        text.push_str(&table(&rows));
    }
    text.push_str("\n`cosync conflicts resolve PATH --keep mine|theirs|VERSION` settles one.\n");
    text
}

fn members(members: &[Member]) -> String {
    let mut rows = vec![["DEVICE", "NAME", "ACCESS", "STATE", "TRUST"].map(str::to_owned).to_vec()];
    rows.extend(members.iter().map(|member| {
        let state = match (member.me, member.connected, member.in_sync) {
            (true, ..) => "this device",
            (_, true, true) => "in sync",
            (_, true, false) => "connected",
            _ => "away",
        };
        let name = member.name.as_deref().map_or_else(|| "-".to_owned(), safe);
        vec![short(&member.node).to_owned(), name, member.access.clone(), state.to_owned(), safe(&member.why)]
    }));
    let warned = members.iter().filter_map(|member| Some((member, member.warning.as_deref()?)));
    let warnings = warned.map(|(member, why)| format!("{}: {}\n", short(&member.node), safe(why)));
    warnings.fold(table(&rows), |text, warning| text + &warning)
}

fn own_devices(person: &str, is_frozen: bool, devices: &[Device]) -> String {
    let mut rows = vec![["DEVICE", "LABEL", ""].map(str::to_owned).to_vec()];
    rows.extend(devices.iter().map(|device| {
        let what = match (device.me, device.speaks) {
            (true, true) => "this device, speaks for you",
            (true, false) => "this device",
            (false, true) => "speaks for you",
            (false, false) => "",
        };
        vec![short(&device.node).to_owned(), safe(&device.label), what.to_owned()]
    }));
    let frozen = "Two histories were signed with your key: only `cosync device recover` helps.\n";
    format!("person     {person}\n{}{}", table(&rows), if is_frozen { frozen } else { "" })
}

fn recovered(message: &str, recovery: Option<&str>) -> String {
    let mut text = format!("{}\n", safe(message));
    if let Some(key) = recovery {
        text.push_str(
            "Write this key down and keep it off your devices. It is shown once, and only it makes\n",
        );
        text.push_str(&format!("another device speak for you if this one is lost or stolen:\n\n  {key}\n"));
    }
    text
}

fn findings(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Problem => "problem",
            Level::Waiting => "waiting",
            Level::Fine => "fine   ",
        };
        text.push_str(&format!("{mark}  {}: {}\n", safe(&finding.subject), safe(&finding.finding)));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("         -> {}\n", safe(advice)));
        }
    }
    text
}
