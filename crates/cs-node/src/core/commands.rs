//! What people and programs ask of the node: requests of the local API, each answered once.

use std::path::{Path, PathBuf};

use cs_crypto::invite::Code;
use cs_identity::control::{Draft, Statement};
use cs_identity::{NodeId, OpId, Signed, SpaceId};
use cs_store::Disk;

use crate::api::{
    API_VERSION, Access, Finding, Invited, Level, Problem, ProblemCode, Reply, Request, Status,
};
use crate::core::NodeCore;
use crate::core::joining::{Joining, Means};
use crate::core::keys::Keyring;
use crate::core::ports::{CommandId, FolderEvent, Output};
use crate::core::space::{Body, Space};
use crate::folder::{FileVersion, RelPath};
use crate::json;
use crate::ticket::{Ticket, TicketError};

/// A space whose folder is being opened for the first time. Nothing of it is stored yet.
pub(crate) struct Creating {
    command: CommandId,
    genesis: Signed<Statement>,
    keys: Keyring,
    name: String,
    dir: PathBuf,
    access: Access,
    expires_s: u64,
}

pub(crate) type Answer = Result<Reply, Problem>;

impl<D: Disk> NodeCore<D> {
    pub(crate) fn command(&mut self, id: CommandId, request: Request) {
        let answer = match request {
            Request::Share { folder, name, access, expires_s } => {
                self.share(id, folder, name, access, expires_s)
            }
            Request::Join { ticket, folder, limit_s } => self.join(id, &ticket, folder, limit_s),
            Request::Dht(ask) => self.ask_dht(id, &ask),
            other => Some(self.answer(other)),
        };
        if let Some(result) = answer {
            self.host.push(Output::Answer { id, result });
        }
    }

    fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Status => Ok(Reply::Status(self.status())),
            Request::Invite { space, access, expires_s } => {
                let id = self.find(space.as_deref())?;
                self.invite(id, access, expires_s)
            }
            Request::List { space, prefix } => {
                let id = self.find(space.as_deref())?;
                Ok(Reply::Entries { entries: self.space(id).entries(&prefix) })
            }
            Request::Get { space, path } => self.get(space.as_deref(), path),
            Request::Put { space, path, value } => self.put(space.as_deref(), path, &value),
            Request::Log { space, path, limit } => {
                let id = self.find(space.as_deref())?;
                let path = path.map(rel_path).transpose()?;
                Ok(Reply::Log { entries: self.spaces[&id].history(&self.store, path.as_ref(), limit) })
            }
            Request::Conflicts { space, path } => {
                let id = self.find(space.as_deref())?;
                let path = path.map(rel_path).transpose()?;
                Ok(Reply::Conflicts { conflicts: self.spaces[&id].conflicts(&self.host, path.as_ref()) })
            }
            Request::Resolve { space, path, keep } => self.resolve(space.as_deref(), path, &keep),
            Request::Deletions { space, accept } => self.deletions(space.as_deref(), accept),
            Request::Who { space } => self.who(space.as_deref()),
            Request::Name { node, name } => self.set_petname(&node, name.as_deref()),
            Request::Devices => self.devices(),
            Request::DeviceConsent { person } => self.consent(&person),
            Request::DeviceAdd { node, label, consent } => self.add_device(&node, label, &consent),
            Request::DeviceRemove { node } => self.remove_device(&node),
            Request::DeviceRecover { person, key } => self.recover(&person, &key),
            Request::Trust { space, node, trust, name } => self.attest(space.as_deref(), &node, trust, name),
            Request::Revoke { space, node } => self.revoke(space.as_deref(), &node),
            Request::Pause { space } => self.pause(space.as_deref(), true),
            Request::Resume { space } => self.pause(space.as_deref(), false),
            Request::Doctor { subject } => self.doctor(subject.as_deref()),
            Request::Net => Ok(Reply::Net(Box::new(self.net()))),
            Request::Stop => Ok(self.leave()),
            Request::Share { .. } | Request::Join { .. } | Request::Dht(_) => {
                unreachable!("`command` takes these")
            }
        }
    }

    fn space(&self, id: SpaceId) -> &Space {
        &self.spaces[&id]
    }

    /// The space that a name or the beginning of an ID means; the only one when nothing is named.
    pub(crate) fn find(&self, named: Option<&str>) -> Result<SpaceId, Problem> {
        let fits =
            |space: &&Space| named.is_none_or(|n| space.name == n || space.id.to_string().starts_with(n));
        let mut found = self.spaces.values().filter(fits);
        match (found.next(), found.next(), named) {
            (Some(space), None, _) => Ok(space.id),
            (None, _, Some(name)) => Err(not_found(
                format!("There is no space called `{name}`."),
                "`cosync status` lists the spaces of this node.",
            )),
            (None, _, None) => Err(not_found(
                "This node has no space yet.".to_owned(),
                "`cosync share DIR` makes one, `cosync join CODE DIR` joins one.",
            )),
            (Some(_), Some(_), Some(name)) => Err(Problem::new(
                ProblemCode::Usage,
                format!("`{name}` means more than one space."),
                "Name it by more characters of its ID: `cosync status --json` shows them.",
            )),
            (Some(_), Some(_), None) => Err(Problem::new(
                ProblemCode::Usage,
                "This node has more than one space.",
                "Say which: `--space NAME`.",
            )),
        }
    }

    fn status(&self) -> Status {
        let peers = self.peers.iter().map(|(node, peer)| crate::api::Peer {
            node: node.to_string(),
            address: peer.addr.to_string(),
            spaces: self
                .spaces
                .values()
                .filter(|s| s.links.contains_key(node))
                .map(|s| s.name.clone())
                .collect(),
        });
        let mut spaces: Vec<_> = self.spaces.values().map(|s| s.status(&self.host)).collect();
        spaces.sort_by(|a, b| a.name.cmp(&b.name));
        Status {
            version: API_VERSION,
            node: self.host.me.to_string(),
            listen: self.discovery.addrs.iter().map(ToString::to_string).collect(),
            peers: peers.collect(),
            spaces,
            dht_contacts: self.discovery.dht.contacts().len(),
            joining: self.joins.iter().map(Joining::waits_for).collect(),
        }
    }

    fn share(
        &mut self,
        command: CommandId,
        folder: String,
        name: Option<String>,
        access: Access,
        expires_s: u64,
    ) -> Option<Answer> {
        let dir = PathBuf::from(folder);
        if let Some(space) = self.spaces.values().find(|s| s.files.dir.as_ref() == Some(&dir)) {
            let id = space.id;
            return Some(self.invite(id, access, expires_s));
        }
        if let Some(problem) = self.overlap(&dir) {
            return Some(Err(problem));
        }
        let name = name.unwrap_or_else(|| self.free_name(&dir));
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&self.host.random()[..16]);
        let draft = Draft::genesis(nonce, self.host.unix_ms());
        let genesis = Statement::sign(&self.host.secret, draft).expect("a genesis is always valid");
        let keys = Keyring::generate(&mut self.host);
        let id = genesis.space();
        let chunk_key = keys.chunk_key().expect("generated just now");
        self.creating
            .insert(id, Creating { command, genesis, keys, name, dir: dir.clone(), access, expires_s });
        self.host.push(Output::OpenFolder { space: id, dir, chunk_key, create: false });
        None
    }

    /// Two spaces must not share files: each would take the other's work for its own.
    fn overlap(&self, dir: &Path) -> Option<Problem> {
        let other = self.spaces.values().find(|s| {
            s.files.dir.as_ref().is_some_and(|other| dir.starts_with(other) || other.starts_with(dir))
        })?;
        Some(Problem::new(
            ProblemCode::Folder,
            format!("{} and the folder of the space `{}` lie within each other.", dir.display(), other.name),
            "Choose a folder that is neither inside nor around one that is shared already.",
        ))
    }

    fn free_name(&self, dir: &Path) -> String {
        let base = dir.file_name().map_or_else(|| "space".to_owned(), |n| n.to_string_lossy().into_owned());
        let taken = |name: &str| self.spaces.values().any(|s| s.name == name);
        let numbered = (2..).map(|n| format!("{base}-{n}"));
        std::iter::once(base.clone()).chain(numbered).find(|n| !taken(n)).unwrap_or(base)
    }

    /// News from a folder that is being opened for a new space.
    pub(crate) fn on_created_folder(&mut self, id: SpaceId, event: FolderEvent) {
        let Some(creating) = self.creating.remove(&id) else { return };
        let result = match event {
            FolderEvent::Opened => self.create(id, &creating).and_then(|()| {
                let space = self.spaces.get_mut(&id).expect("created just now");
                // The folder is open: the space takes it from here, scan included.
                space.on_folder(&mut self.host, &mut self.store, FolderEvent::Opened)?;
                self.invite(id, creating.access, creating.expires_s)
            }),
            FolderEvent::Failed { why } => Err(folder_problem(why)),
            _ => {
                self.creating.insert(id, creating);
                return;
            }
        };
        self.host.push(Output::Answer { id: creating.command, result });
    }

    fn create(&mut self, id: SpaceId, creating: &Creating) -> Result<(), Problem> {
        let keys = creating.keys.clone();
        let me = self.host.me;
        let first_epoch = keys.boxes_for(&mut self.host, id, &[me]);
        let mut space =
            Space::new(&mut self.host, id, creating.name.clone(), Some(creating.dir.clone()), keys);
        space.take_statement(&mut self.host, &mut self.store, creating.genesis.bytes())?;
        for epoch in first_epoch {
            space.state(&mut self.host, &mut self.store, epoch)?;
        }
        self.spaces.insert(id, space);
        self.keep_settings(id);
        self.spaces_changed();
        Ok(())
    }

    fn invite(&mut self, id: SpaceId, access: Access, expires_s: u64) -> Answer {
        self.spaces[&id].may_invite(&self.host)?;
        let expires_unix_ms = self.host.unix_ms() + expires_s.saturating_mul(1000).min(1 << 40);
        let (secret, code) =
            self.invitations.make(&mut self.host, &mut self.store, id, access, expires_unix_ms);
        let ticket = Ticket {
            inviter: self.host.me,
            secret,
            addrs: self.discovery.addrs.clone(),
            bootstrap: self.discovery.bootstrap_nodes(),
        };
        self.announce_codes();
        Ok(Reply::Invited(Invited {
            space: id.to_string(),
            name: self.spaces[&id].name.clone(),
            code: code.to_string(),
            invitation: ticket.to_string(),
            expires_unix_ms,
        }))
    }

    fn join(
        &mut self,
        command: CommandId,
        ticket: &str,
        folder: Option<String>,
        limit_s: Option<u64>,
    ) -> Option<Answer> {
        let folder = folder.map(PathBuf::from);
        if let Some(problem) = folder.as_ref().and_then(|dir| self.overlap(dir)) {
            return Some(Err(problem));
        }
        let means = match parse_means(ticket) {
            Ok(means) => means,
            Err(problem) => return Some(Err(problem)),
        };
        if let Means::Invitation(ticket) = &means
            && ticket.inviter == self.host.me
        {
            return Some(Err(Problem::new(
                ProblemCode::BadInvitation,
                "This invitation was made by this very node.",
                "Join on the other device, or with another `--home`.",
            )));
        }
        self.joins.push(Joining::new(command, means, folder, self.host.now, limit_s));
        self.begin_join(command);
        None
    }

    fn resolve(&mut self, named: Option<&str>, path: String, keep: &str) -> Answer {
        let id = self.find(named)?;
        let me = self.host.me;
        let path = rel_path(path)?;
        let space = self.spaces.get_mut(&id).expect("find returns spaces that are here");
        let node = space.tree.node(&path).filter(|n| n.in_conflict()).ok_or_else(|| {
            not_found(format!("`{}` is not in conflict.", show(&path)), "`cosync conflicts` lists what is.")
        })?;
        let chosen = match keep {
            "mine" => node.heads().iter().find(|h| h.author == me),
            "theirs" => node.heads().iter().filter(|h| h.author != me).max_by_key(|h| (h.clock, h.id)),
            prefix => {
                node.heads().iter().find(|h| !prefix.is_empty() && h.id.to_string().starts_with(prefix))
            }
        };
        let chosen = chosen.ok_or_else(|| {
            not_found(
                format!("`{}` has no such version.", show(&path)),
                "Choose `mine`, `theirs` or an ID that `cosync conflicts show` lists.",
            )
        })?;
        let content = chosen.content.clone();
        let kept = chosen.id;
        let deps: Vec<OpId> = node.heads().iter().map(|h| h.id).collect();
        let body = Body::File(FileVersion::new(path.clone(), content));
        space.write(&mut self.host, &mut self.store, &body, deps)?;
        space.settle(&mut self.host);
        done(format!("`{}` is now version {}.", show(&path), kept.short()))
    }

    fn deletions(&mut self, named: Option<&str>, accept: bool) -> Answer {
        let id = self.find(named)?;
        let space = self.spaces.get_mut(&id).expect("find returns spaces that are here");
        let count = space.decide_held(&mut self.host, &mut self.store, accept)?;
        done(match (count, accept) {
            (0, _) => "No deletions are held back.".to_owned(),
            (n, true) => format!("{n} deletions are applied."),
            (n, false) => format!("{n} files are restored everywhere."),
        })
    }

    fn get(&mut self, named: Option<&str>, path: String) -> Answer {
        let id = self.find(named)?;
        let rel = rel_path(path.clone())?;
        let space = self.spaces.get_mut(&id).expect("find returns spaces that are here");
        if space.documents.entry(&rel).is_none() {
            let is_file = space.tree.node(&rel).is_some_and(|n| !n.is_gone());
            return Err(if is_file {
                Problem::new(
                    ProblemCode::Usage,
                    format!("`{path}` is a file of the folder."),
                    "Read it there.",
                )
            } else {
                not_found(format!("There is no document at `{path}`."), "`cosync ls` lists what there is.")
            });
        }
        let document = space.document(&self.host, &self.store, &rel)?;
        let value = json::from_document(&document.to_json());
        let conflicts = document.conflicts().iter().map(json::pointer).collect();
        Ok(Reply::Document { path, value, conflicts })
    }

    fn put(&mut self, named: Option<&str>, path: String, value: &serde_json::Value) -> Answer {
        let id = self.find(named)?;
        let rel = rel_path(path.clone())?;
        let value = json::to_document(value).ok_or_else(|| {
            Problem::new(
                ProblemCode::Usage,
                "This JSON value cannot be a document.",
                "Numbers go up to 64 bits.",
            )
        })?;
        let space = self.spaces.get_mut(&id).expect("find returns spaces that are here");
        if space.tree.node(&rel).is_some_and(|n| !n.is_gone()) {
            return Err(Problem::new(
                ProblemCode::Usage,
                format!("`{path}` is a file of the folder."),
                "Edit it there, or put the document at another path.",
            ));
        }
        let changed = space.put(&mut self.host, &mut self.store, &rel, &value)?;
        done(if changed { format!("`{path}` is written.") } else { format!("`{path}` was equal already.") })
    }

    fn revoke(&mut self, named: Option<&str>, node: &str) -> Answer {
        let id = self.find(named)?;
        let space = self.spaces.get_mut(&id).expect("find returns spaces that are here");
        let fits = |who: &NodeId| !node.is_empty() && who.to_string().starts_with(node);
        let mut members = space.graph.members().into_iter().map(|(who, _)| who).filter(fits);
        let who = match (members.next(), members.next()) {
            (Some(who), None) => who,
            (None, _) => {
                return Err(not_found(format!("`{node}` is no member."), "`cosync who` lists the members."));
            }
            (Some(_), Some(_)) => {
                return Err(Problem::new(
                    ProblemCode::Usage,
                    format!("`{node}` means more than one member."),
                    "Give more characters of the ID.",
                ));
            }
        };
        let grants = space.revoke(&mut self.host, &mut self.store, who)?;
        done(format!(
            "{} lost {grants} grant(s); what is written from now on is sealed with a key it does not get.",
            who.short()
        ))
    }

    fn pause(&mut self, named: Option<&str>, paused: bool) -> Answer {
        let ids = match named {
            Some(_) => vec![self.find(named)?],
            None => self.spaces.keys().copied().collect(),
        };
        for id in &ids {
            let space = self.spaces.get_mut(id).expect("find returns spaces that are here");
            space.set_paused(&mut self.host, paused);
            self.keep_settings(*id);
        }
        self.spaces_changed();
        // Who shall be connected changes with it.
        self.statements_seen = usize::MAX;
        done(format!("{} space(s) {}.", ids.len(), if paused { "paused" } else { "resumed" }))
    }

    fn doctor(&self, subject: Option<&str>) -> Answer {
        let mut findings: Vec<Finding> = Vec::new();
        let asked = |name: &str| subject.is_none_or(|s| name.starts_with(s));
        for space in
            self.spaces.values().filter(|s| asked(&s.name) || asked(&s.id.to_string()) || asked("folder"))
        {
            findings.extend(space.findings(&self.host, &self.store));
        }
        for peer in self.peers_of_interest().iter().filter(|peer| asked(&peer.to_string())) {
            findings.extend(self.ways_to(peer, subject.is_some()));
        }
        if asked("net") {
            findings.push(self.network_finding());
        }
        for (device, warning) in self.claims.warnings() {
            let subject = device.short().to_string();
            let advice = Some(
                "Find out which machine is its owner's: the other has to join anew, with a key of its own."
                    .into(),
            );
            findings.push(Finding { level: Level::Problem, subject, finding: warning.to_owned(), advice });
        }
        if asked("dht") {
            findings.extend(self.discovery.findings());
        }
        if findings.is_empty() {
            return Err(not_found(
                format!("Nothing here is called `{}`.", subject.unwrap_or_default()),
                "Name a space, the beginning of a peer's ID, `dht`, `net` or `folder`.",
            ));
        }
        findings.sort_by_key(|f| f.level);
        Ok(Reply::Findings { findings })
    }
}

/// Whether a text is a well-formed code or invitation. Costs no network: most mistakes of copying are found here.
///
/// # Errors
/// [`ProblemCode::BadInvitation`], with what to do.
pub fn check_ticket(ticket: &str) -> Result<(), Problem> {
    parse_means(ticket).map(|_| ())
}

/// Reads a code or an invitation, whichever it is.
pub(crate) fn parse_means(ticket: &str) -> Result<Means, Problem> {
    let hint = "Copy it again in full, or ask for a new one: `cosync invite` on the other device.";
    match ticket.parse::<Ticket>() {
        Ok(ticket) => Ok(Means::Invitation(ticket)),
        Err(TicketError::NotATicket) => match ticket.trim().parse::<Code>() {
            Ok(code) => Ok(Means::Code(code)),
            Err(_) => Err(Problem::new(
                ProblemCode::BadInvitation,
                "This is neither a code (XXXXX-XXXXX) nor an invitation (cosync:…).",
                hint,
            )),
        },
        Err(error) => Err(Problem::new(
            ProblemCode::BadInvitation,
            format!("The invitation is damaged: {error}."),
            hint,
        )),
    }
}

pub(crate) fn folder_problem(why: String) -> Problem {
    Problem::new(ProblemCode::Folder, why, "Choose an existing directory that this user may read and write.")
}

fn rel_path(path: String) -> Result<RelPath, Problem> {
    RelPath::new(path.trim_matches('/').as_bytes()).map_err(|_| {
        Problem::new(
            ProblemCode::Usage,
            format!("`{path}` is not a path inside a space."),
            "Use names separated by `/`, none of them empty, `.` or `..`.",
        )
    })
}

fn show(path: &RelPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

pub(crate) fn not_found(message: String, hint: &str) -> Problem {
    Problem::new(ProblemCode::NotFound, message, hint)
}

pub(crate) fn done(message: String) -> Answer {
    Ok(Reply::Done { message })
}
