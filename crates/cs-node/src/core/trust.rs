//! Whom the person at this node trusts: petnames, attestations, and what they make of a member.

use cs_identity::control::ControlGraph;
use cs_identity::trust::{
    Attestation, Attested, Explanation, Level as Firmness, PetnameError, Petnames, Policy, WebOfTrust,
};
use cs_identity::wire::whole;
use cs_identity::{NodeId, SpaceId};
use cs_store::Disk;

use crate::api::{Member, Problem, ProblemCode, Reply, Trust};
use crate::core::NodeCore;
use crate::core::commands::{Answer, done, not_found};

/// Where the book of petnames is kept.
const PETNAMES: &[u8] = b"petnames";
/// People and attestations that one answer takes into account: more than the control graphs of a few spaces hold.
const MAX_PEOPLE: usize = 10_000;
const MAX_ATTESTATIONS: usize = 100_000;

impl<D: Disk> NodeCore<D> {
    /// For `who`: the members of a space, what the user calls them, and whether they are trusted.
    pub(crate) fn who(&self, named: Option<&str>) -> Answer {
        let id = self.find(named)?;
        let (names, mut web) = (self.petnames(), self.web_of_trust());
        let mut members = self.spaces[&id].members(&self.host, &self.store);
        let warnings = self.claims.warnings();
        for member in &mut members {
            if let Ok(node) = member.node.parse() {
                describe(member, &node, &names, &mut web);
                let warning = warnings.get(&node).map(|&warning| warning.to_owned());
                member.warning = member.warning.take().or(warning);
            }
        }
        Ok(Reply::Members { members })
    }

    /// For `name`: gives a device a name of the user's own, or takes it away.
    pub(crate) fn set_petname(&mut self, node: &str, name: Option<&str>) -> Answer {
        let mut names = self.petnames();
        let who = self.device(None, node, &names)?;
        match name {
            Some(name) => names.set(who, name).map_err(|error| refusal(name, error))?,
            None => drop(names.remove(&who)),
        }
        let mut bytes = Vec::new();
        names.encode(&mut bytes);
        self.store.put_local(PETNAMES, &bytes);
        done(match name {
            Some(name) => format!("{} is called {name} here.", who.short()),
            None => format!("{} has no name here.", who.short()),
        })
    }

    /// For `trust`: attests a device to the members of the spaces it shares with this one.
    pub(crate) fn attest(
        &mut self,
        named: Option<&str>,
        node: &str,
        trust: Trust,
        name: Option<String>,
    ) -> Answer {
        let subject = self.device(named, node, &self.petnames())?;
        if subject == self.host.me {
            return Err(Problem::new(
                ProblemCode::Usage,
                "This device cannot vouch for itself.",
                "Run the command on another device of yours.",
            ));
        }
        let web = self.web_of_trust();
        let said = web.said_by(&self.host.me).filter(|one| one.subject == subject).last();
        let attestation = Attestation {
            issuer: self.host.me,
            subject,
            claim: Attested::Person,
            level: trust.into(),
            seq: said.map_or(0, |said| said.seq + 1),
            unix_ms: self.host.unix_ms(),
            until_ms: u64::MAX,
            name,
        };
        let signed = Attestation::sign(&self.host.secret, attestation).map_err(|_| {
            let hint = "A name has 1 to 64 bytes, without control characters or doubled blanks.";
            Problem::new(ProblemCode::Usage, "The attestation cannot be signed.", hint)
        })?;
        let shared: Vec<SpaceId> = match named {
            Some(_) => vec![self.find(named)?],
            None => self.spaces.values().filter(|s| is_member(&s.graph, &subject)).map(|s| s.id).collect(),
        };
        let mut told = 0;
        for id in shared {
            if let Some(space) = self.spaces.get_mut(&id) {
                space.state(&mut self.host, &mut self.store, signed.carried())?;
                told += 1;
            }
        }
        let what = if trust == Trust::Withdrawn { "No longer vouched for" } else { "Vouched for" };
        done(format!("{what} {} in {told} space(s).", subject.short()))
    }

    /// What follows from all attestations that this node's spaces carry, with this device as the root.
    pub(crate) fn web_of_trust(&self) -> WebOfTrust {
        let mut web = WebOfTrust::new(Policy::flow(), MAX_PEOPLE, MAX_ATTESTATIONS);
        web.set_time(self.host.unix_ms());
        web.set_root(self.host.me, true);
        for statement in self.kept_statements() {
            // What the spaces carry of it comes again below.
            let _ = web.insert_person(statement);
        }
        for space in self.spaces.values() {
            web.gather(&space.graph);
        }
        web
    }

    fn petnames(&self) -> Petnames {
        let kept = self.store.local(PETNAMES);
        kept.and_then(|bytes| whole(&bytes, Petnames::decode).ok()).unwrap_or_default()
    }

    /// The device that a petname, an ID, or the beginning of a member's ID means.
    fn device(&self, named: Option<&str>, node: &str, names: &Petnames) -> Result<NodeId, Problem> {
        if let Some(who) = names.find(node).or_else(|| node.parse().ok()) {
            return Ok(who);
        }
        let only = named.map(|_| self.find(named)).transpose()?;
        let spaces = self.spaces.values().filter(|space| only.is_none_or(|only| only == space.id));
        let fits = |who: &NodeId| !node.is_empty() && who.to_string().starts_with(node);
        let mut members: Vec<NodeId> =
            spaces.flat_map(|space| space.graph.members()).map(|(who, _)| who).filter(fits).collect();
        members.sort_unstable();
        members.dedup();
        match members[..] {
            [who] => Ok(who),
            [] => Err(not_found(
                format!("`{node}` is no member's name or ID."),
                "`cosync who` lists the members.",
            )),
            _ => Err(Problem::new(
                ProblemCode::Usage,
                format!("`{node}` means more than one member."),
                "Give more characters of the ID.",
            )),
        }
    }
}

fn describe(member: &mut Member, node: &NodeId, names: &Petnames, web: &mut WebOfTrust) {
    let explanation = web.explain(node);
    let principal = web.people().principal(node, u64::MAX);
    member.name = names.name(node).map(str::to_owned);
    member.person = (principal != *node).then(|| principal.to_string());
    member.trusted = explanation.is_trusted();
    member.why = match explanation {
        Explanation::Root => String::new(),
        told => told.tell(names).to_string(),
    };
}

fn is_member(graph: &ControlGraph, who: &NodeId) -> bool {
    graph.members().iter().any(|(member, _)| member == who)
}

fn refusal(name: &str, error: PetnameError) -> Problem {
    let hint = "`cosync who` lists the names given so far.";
    Problem::new(ProblemCode::Usage, format!("`{name}` cannot be given: {error}."), hint)
}

impl From<Trust> for Firmness {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Full => Self::Full,
            Trust::Marginal => Self::Marginal,
            Trust::Withdrawn => Self::Withdrawn,
        }
    }
}
