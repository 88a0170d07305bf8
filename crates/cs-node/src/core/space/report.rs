//! What a space looks like from outside: replies of the local API.

use cs_identity::{NodeId, Rights};
use cs_store::Disk;

use crate::api::{self, Level, SpaceState};
use crate::core::archive::Archive;
use crate::core::host::Host;
use crate::core::space::link::Link;
use crate::core::space::{Body, FolderState, Space, access_name};
use crate::core::tree::Head;
use crate::folder::{Content, RelPath};

/// What is said of a device that signed two histories.
const FORKED: &str = "Its key signed two histories: it was copied or stolen, or a backup was put back.";

impl Space {
    /// For `status`.
    pub(crate) fn status(&self, host: &Host) -> api::Space {
        let totals = self.tree.totals();
        let mine = self.summary();
        let connected = self.links.values().filter(|l| l.rights.contains(Rights::READ));
        let in_sync = self.links.values().filter(|l| l.rights.contains(Rights::READ) && l.in_sync(&mine));
        api::Space {
            id: self.id.to_string(),
            name: self.name.clone(),
            folder: self.files.dir.as_ref().map(|d| d.display().to_string()),
            access: access_name(self.rights_of(host, &host.me)).to_owned(),
            state: self.state_now(),
            files: totals.files,
            bytes: totals.bytes,
            documents: self.documents.len() as u64,
            conflicts: self.tree.conflicts().len() as u64,
            held_deletions: self.files.held.len() as u64,
            files_wanted: self.files_wanted(),
            bytes_wanted: self.files.fetch.bytes(),
            bytes_received: self.files.bytes_received,
            bytes_sent: self.files.bytes_sent,
            operations: self.operations.len() as u64,
            connected: connected.count() as u64,
            in_sync_with: in_sync.count() as u64,
            problems: self.problems(),
        }
    }

    /// Files that this node knows of and whose content is not in the folder yet.
    fn files_wanted(&self) -> u64 {
        if self.files.state == FolderState::None {
            return 0;
        }
        (self.tree.unsettled().len() - self.files.held.len().min(self.tree.unsettled().len())) as u64
    }

    fn state_now(&self) -> SpaceState {
        // With a device that has no access any more nothing is ever equal.
        let mut links = self.links.values().filter(|l| l.rights.contains(Rights::RELAY));
        let more_to_come = |l: &Link| l.theirs.is_some_and(|theirs| theirs.scanning);
        let catching_up = links.any(|l| l.is_owed() || l.differs_since.is_some() || more_to_come(l));
        match &self.files.state {
            _ if self.paused => SpaceState::Paused,
            FolderState::Failed(_) => SpaceState::Stopped,
            _ if self.files.is_scanning() => SpaceState::Scanning,
            _ if self.files_wanted() > 0 || catching_up => SpaceState::Syncing,
            _ if self.links.is_empty() => SpaceState::Alone,
            _ => SpaceState::UpToDate,
        }
    }

    fn problems(&self) -> Vec<api::PathProblem> {
        let folder = match &self.files.state {
            FolderState::Failed(why) => Some(api::PathProblem { path: String::new(), why: why.clone() }),
            _ => None,
        };
        let paths = self.files.troubles.iter().take(100);
        let paths = paths.map(|(path, why)| api::PathProblem { path: show(path), why: why.clone() });
        folder.into_iter().chain(paths).collect()
    }

    /// For `ls`.
    pub(crate) fn entries(&self, prefix: &str) -> Vec<api::Entry> {
        let below = |path: &RelPath| {
            let path = path.as_bytes();
            let prefix = prefix.trim_matches('/').as_bytes();
            prefix.is_empty()
                || path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        let files = self.tree.iter().filter(|(path, node)| below(path) && !node.is_gone()).filter_map(
            |(path, node)| {
                let winner = node.winner()?;
                let (kind, size) = match &winner.content {
                    Content::File { size, .. } => ("file", *size),
                    Content::Dir => ("directory", 0),
                    Content::Symlink { .. } => ("link", 0),
                    Content::Deleted => return None,
                };
                Some(api::Entry {
                    path: show(path),
                    kind: kind.to_owned(),
                    size,
                    changed_unix_ms: winner.unix_ms(),
                    author: winner.author.to_string(),
                    conflict: node.in_conflict(),
                    pending: self.files.state != FolderState::None && !node.is_settled(),
                })
            },
        );
        let documents =
            self.documents.iter().filter(|(path, _)| below(path)).map(|(path, entry)| api::Entry {
                path: show(path),
                kind: "document".to_owned(),
                size: 0,
                changed_unix_ms: entry.clock >> 16,
                author: entry.author.map(|a| a.to_string()).unwrap_or_default(),
                conflict: false,
                pending: false,
            });
        let mut entries: Vec<api::Entry> = files.chain(documents).collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries
    }

    /// For `conflicts`.
    pub(crate) fn conflicts(&self, host: &Host, only: Option<&RelPath>) -> Vec<api::Conflict> {
        let wanted = |path: &&RelPath| only.is_none_or(|o| o == *path);
        let conflict = |path: &RelPath| {
            let node = self.tree.node(path)?;
            let winner = node.winner()?;
            let versions = std::iter::once(winner).chain(node.losers());
            Some(api::Conflict { path: show(path), versions: versions.map(|h| version(host, h)).collect() })
        };
        self.tree.conflicts().iter().filter(wanted).filter_map(conflict).collect()
    }

    /// For `log`: every operation that can be opened here, newest first.
    pub(crate) fn history<D: Disk>(
        &self,
        store: &Archive<D>,
        only: Option<&RelPath>,
        limit: usize,
    ) -> Vec<api::LogEntry> {
        let mut entries: Vec<(u64, api::LogEntry)> = (store.operations(&self.id).into_iter())
            .filter_map(|operation| {
                let body = self.open_body(&operation)?;
                if only.is_some_and(|path| path != body.path()) {
                    return None;
                }
                let what = match &body {
                    Body::Json { .. } => "edited document",
                    Body::File(file) => match &file.content {
                        Content::File { .. } => "wrote",
                        Content::Dir => "made directory",
                        Content::Symlink { .. } => "linked",
                        Content::Deleted => "deleted",
                    },
                };
                let entry = api::LogEntry {
                    id: operation.id().to_string(),
                    unix_ms: operation.unix_ms(),
                    author: operation.author.to_string(),
                    path: show(body.path()),
                    what: what.to_owned(),
                };
                Some((operation.clock, entry))
            })
            .collect();
        entries.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
        entries.into_iter().take(limit).map(|(_, entry)| entry).collect()
    }

    /// For `who`; whom the user trusts is filled in by the node.
    pub(crate) fn members<D: Disk>(&self, host: &Host, store: &Archive<D>) -> Vec<api::Member> {
        let mine = self.summary();
        let forked = self.forked(store);
        let member = |(node, rights): (NodeId, Rights)| {
            let link = self.links.get(&node);
            api::Member {
                node: node.to_string(),
                access: access_name(rights).to_owned(),
                me: node == host.me,
                connected: link.is_some() || node == host.me,
                in_sync: node == host.me || link.is_some_and(|l| l.in_sync(&mine)),
                name: None,
                person: None,
                trusted: false,
                why: String::new(),
                warning: forked.contains(&node).then(|| FORKED.to_owned()),
            }
        };
        self.graph.members().into_iter().map(member).collect()
    }

    /// For `doctor`.
    pub(crate) fn findings<D: Disk>(&self, host: &Host, store: &Archive<D>) -> Vec<api::Finding> {
        let mut findings = Findings { subject: self.name.clone(), said: Vec::new() };
        self.folder_findings(&mut findings);
        self.access_findings(host, store, &mut findings);
        self.sync_findings(&mut findings);
        if findings.said.is_empty() {
            findings.say(Level::Fine, "All is well.".into(), None);
        }
        findings.said
    }

    fn folder_findings(&self, findings: &mut Findings) {
        if self.paused {
            findings.say(
                Level::Waiting,
                "Syncing is paused.".into(),
                Some("`cosync resume` takes it up again."),
            );
        }
        if let FolderState::Failed(why) = &self.files.state {
            findings.say(Level::Problem, why.clone(), None);
        }
        for (path, why) in self.files.troubles.iter().take(20) {
            findings.say(Level::Problem, format!("{}: {why}", show(path)), None);
        }
        if !self.files.held.is_empty() {
            let finding = format!(
                "{} deletions by others are held back: they are more than a quarter of the folder.",
                self.files.held.len()
            );
            findings.say(
                Level::Waiting,
                finding,
                Some(
                    "`cosync deletions accept` deletes here too; `cosync deletions restore` brings the files back everywhere.",
                ),
            );
        }
        if !self.tree.conflicts().is_empty() {
            let finding = format!("{} paths have concurrent versions.", self.tree.conflicts().len());
            findings.say(Level::Waiting, finding, Some("`cosync conflicts` lists them."));
        }
    }

    fn access_findings<D: Disk>(&self, host: &Host, store: &Archive<D>, findings: &mut Findings) {
        let mine = self.rights_of(host, &host.me);
        if !mine.contains(Rights::READ) {
            findings.say(
                Level::Problem,
                "This device has no access any more: it was revoked.".into(),
                Some("Ask a manager of the space for a new invitation."),
            );
        } else if !mine.contains(Rights::WRITE) {
            findings.say(Level::Fine, "This device may read only; its own edits stay here.".into(), None);
        }
        for who in self.forked(store) {
            let (whose, advice) = if who == host.me {
                ("This device".to_owned(), "Stop the other machine; join again with a new key.")
            } else {
                (who.short().to_string(), "`cosync revoke` it, and invite its owner's device anew.")
            };
            findings.say(
                Level::Problem,
                format!("{whose}: {FORKED} What came after the fork does not count."),
                Some(advice),
            );
        }
    }

    fn sync_findings(&self, findings: &mut Findings) {
        if self.links.is_empty() && !self.paused {
            let others = self.graph.members().len().saturating_sub(1);
            let finding = format!("No member is connected ({others} known besides this device).");
            findings.say(
                Level::Waiting,
                finding,
                Some("Start cosync on the other device; `cosync invite` adds one."),
            );
        }
        let parked = self.files.fetch.parked();
        if parked > 0 {
            findings.say(
                Level::Waiting,
                format!("{parked} chunks are on no connected device."),
                Some("They come when a device that has them is back."),
            );
        }
        if self.waiting.len() > 0 {
            findings.say(
                Level::Waiting,
                format!("{} operations wait for others that they name.", self.waiting.len()),
                None,
            );
        }
        if !self.sealed.is_empty() {
            findings.say(
                Level::Waiting,
                format!("{} operations are sealed with a key this device was not given.", self.sealed.len()),
                None,
            );
        }
        let summary = self.summary();
        for (peer, link) in &self.links {
            let state = if !link.rights.contains(Rights::READ) {
                "has no access, and is sent nothing".to_owned()
            } else if link.theirs.is_some_and(|theirs| theirs.scanning) {
                "is looking through its folder".to_owned()
            } else if link.in_sync(&summary) {
                "has the same operations".to_owned()
            } else if link.is_owed() {
                "is sending what is missing here".to_owned()
            } else {
                "differs; what each side lacks is being worked out".to_owned()
            };
            let pending = link.theirs.map_or(0, |t| t.pending);
            let files = if pending > 0 {
                format!(", and waits for the content of {pending} files")
            } else {
                String::new()
            };
            findings.say(Level::Fine, format!("{} {state}{files}.", peer.short()), None);
        }
    }
}

/// What is found out about one space.
struct Findings {
    subject: String,
    said: Vec<api::Finding>,
}

impl Findings {
    fn say(&mut self, level: Level, finding: String, advice: Option<&str>) {
        let (subject, advice) = (self.subject.clone(), advice.map(str::to_owned));
        self.said.push(api::Finding { level, subject, finding, advice });
    }
}

fn version(host: &Host, head: &Head) -> api::Version {
    let what = match &head.content {
        Content::File { size, exec, .. } => {
            format!("{}file, {size} bytes", if *exec { "executable " } else { "" })
        }
        Content::Dir => "directory".to_owned(),
        Content::Symlink { target } => format!("link to {}", String::from_utf8_lossy(target)),
        Content::Deleted => "deleted".to_owned(),
    };
    api::Version {
        id: head.id.to_string(),
        author: head.author.to_string(),
        mine: head.author == host.me,
        unix_ms: head.unix_ms(),
        what,
    }
}

/// A path for people: what is not UTF-8 shows as `\u{fffd}`.
pub(crate) fn show(path: &RelPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}
