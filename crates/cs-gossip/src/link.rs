//! One connected peer, and whether it still answers (GOS-6): SWIM's indirect probes (Das, Gupta, Motivala,
//! DSN 2002) with the local health of Lifeguard (Dadgar, Phillips, Currey 2018).

use core::time::Duration;

use cs_identity::NodeId;

use crate::membership::Membership;
use crate::rtt::Delay;
use crate::shared::{Core, Misdeed};
use crate::standing::Standing;
use crate::timers::Timer;
use crate::wire::{Lane, Message};

/// Before the first sample, and at the least and most.
const FIRST_LIMIT: Duration = Duration::from_secs(1);
const LEAST_LIMIT: Duration = Duration::from_millis(200);
const MOST_LIMIT: Duration = Duration::from_secs(5);
/// Others that are asked about a silent neighbour.
const HELPERS: usize = 2;
/// A link that was silent for so long is probed when something is pushed to it.
const SUSPICIOUS: Duration = Duration::from_secs(1);
/// Peers that one link may wait for on others' behalf.
const MAX_ASKERS: usize = 8;

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) active: bool,
    pub(crate) rtt: Delay,
    /// An answer is awaited; `true`: others were asked about it too.
    pub(crate) probe: Option<bool>,
    /// The latest probe, until its own answer measures the round trip.
    sent: Option<(u32, Duration)>,
    pub(crate) standing: Standing,
    heard_at: Duration,
    /// Who wants to know whether this peer answers.
    askers: Vec<NodeId>,
    /// The last join or shuffle, which come at a bounded rate.
    request_at: Option<Duration>,
}

impl Link {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            active: false,
            rtt: Delay::default(),
            probe: None,
            sent: None,
            standing: Standing::default(),
            heard_at: now,
            askers: Vec::new(),
            request_at: None,
        }
    }

    /// How long an answer may take.
    pub(crate) fn limit(&self) -> Duration {
        self.rtt.limit().unwrap_or(FIRST_LIMIT).clamp(LEAST_LIMIT, MOST_LIMIT)
    }

    /// Whether a join or shuffle may come now; notes it if so.
    pub(crate) fn may_ask(&mut self, now: Duration, patience: Duration) -> bool {
        let may = self.request_at.is_none_or(|at| now.saturating_sub(at) >= patience);
        if may {
            self.request_at = Some(now);
        }
        may
    }

    /// Sends a probe and waits for its answer.
    pub(crate) fn ping(&mut self, core: &mut Core, peer: NodeId) {
        self.send_ping(core, peer, false);
        core.set_after(Timer::Unanswered(peer), self.limit());
    }

    fn send_ping(&mut self, core: &mut Core, peer: NodeId, indirect: bool) {
        let token = core.random() as u32;
        self.probe = Some(indirect);
        self.sent = Some((token, core.now));
        core.send(peer, Lane::Control, &Message::Ping { token });
    }
}

impl Membership {
    /// Any message is a sign of life.
    pub(crate) fn heard(&mut self, core: &mut Core, from: NodeId) {
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        link.heard_at = core.now;
        if link.active && (link.probe.take().is_some() || !core.timers.is_set(Timer::Probe(from))) {
            core.timers.cancel(Timer::Unanswered(from));
            let wait = core.jitter(core.config.probe_interval);
            core.set_after(Timer::Probe(from), wait);
        }
        for asker in core::mem::take(&mut link.askers) {
            core.send(asker, Lane::Control, &Message::Alive { target: from });
        }
    }

    pub(crate) fn pong(&mut self, core: &Core, from: NodeId, token: u32) {
        let Some(link) = self.links.get_mut(&from) else {
            return;
        };
        if let Some((_, sent_at)) = link.sent.take_if(|(sent, _)| *sent == token) {
            link.rtt.sample(core.now.saturating_sub(sent_at));
        }
    }

    /// Another neighbour vouches for a silent one.
    pub(crate) fn alive(&mut self, core: &mut Core, target: NodeId) {
        if self.links.get(&target).is_some_and(|link| link.probe == Some(true)) {
            self.heard(core, target);
        }
    }

    /// Asks a peer on another's behalf; the answer goes out with its next message.
    pub(crate) fn ping_for(&mut self, core: &mut Core, from: NodeId, target: NodeId) {
        let Some(link) = self.links.get_mut(&target) else { return };
        // Asked again, or by more than are answered: the answer to those that were first is on its way.
        if link.askers.contains(&from) || link.askers.len() >= MAX_ASKERS {
            return;
        }
        link.askers.push(from);
        let token = core.random() as u32;
        core.send(target, Lane::Control, &Message::Ping { token });
    }

    /// Something was pushed to a neighbour. If it has been silent, its death should not cost the next payload too.
    pub(crate) fn suspect(&self, core: &mut Core, peer: NodeId) {
        let is_silent = |link: &&Link| link.active && core.now.saturating_sub(link.heard_at) >= SUSPICIOUS;
        if self.links.get(&peer).filter(is_silent).is_some_and(|link| link.probe.is_none()) {
            core.suspects.push(peer);
        }
    }

    pub(crate) fn probe_now(&mut self, core: &mut Core, peer: NodeId) {
        if let Some(link) = self.links.get_mut(&peer).filter(|link| link.active && link.probe.is_none()) {
            link.ping(core, peer);
        }
    }

    /// GOS-16: counts a message that carries no payload.
    pub(crate) fn count_message(&mut self, core: &mut Core, from: NodeId) {
        let broadcasts = core.counters.delivered + core.counters.published;
        if self.links.get_mut(&from).is_some_and(|link| link.standing.message(core.now, broadcasts)) {
            self.shun(core, from);
        }
    }

    /// GOS-16: holds a misdeed against a peer.
    pub(crate) fn note(&mut self, core: &mut Core, peer: NodeId, misdeed: Misdeed) {
        let broadcasts = core.counters.delivered + core.counters.published;
        if self.links.get_mut(&peer).is_some_and(|link| link.standing.note(core.now, misdeed, broadcasts)) {
            self.shun(core, peer);
        }
    }

    /// A neighbour was quiet for a while: is it there?
    pub(crate) fn probe_due(&mut self, core: &mut Core, peer: NodeId) {
        let Some(link) = self.links.get_mut(&peer).filter(|link| link.active) else {
            return;
        };
        let due_at = link.heard_at.saturating_add(core.config.probe_interval);
        if due_at > core.now {
            core.timers.set(Timer::Probe(peer), due_at);
        } else {
            link.ping(core, peer);
        }
    }

    /// First others are asked, then it is given up.
    pub(crate) fn unanswered(&mut self, core: &mut Core, peer: NodeId) {
        let silent = self.links.values().filter(|link| link.probe == Some(true)).count();
        let helpers: Vec<NodeId> = self.active().filter(|other| *other != peer).collect();
        let Some(link) = self.links.get_mut(&peer).filter(|link| link.active) else {
            return;
        };
        if link.probe == Some(true) {
            self.dead(core, peer);
            return;
        }
        // If several are silent at once the fault may be here: patience grows with their number.
        let wait = link.limit() * (2 + silent.min(4) as u32);
        link.send_ping(core, peer, true);
        for helper in core.sample(helpers, HELPERS) {
            core.send(helper, Lane::Control, &Message::PingFor { target: peer });
        }
        core.set_after(Timer::Unanswered(peer), wait);
        // Deaths come together: the others that are quiet are asked too, and replacements sought before it is certain.
        for (&other, link) in &mut self.links {
            if link.active && link.probe.is_none() && core.now.saturating_sub(link.heard_at) >= SUSPICIOUS {
                link.ping(core, other);
            }
        }
        self.refill(core);
    }
}
