//! When and how the tree is made anew: now and then one broadcast takes every link, and the links that bring it first
//! are the tree from then on (GOS-18).

use core::time::Duration;

use cs_identity::NodeId;

use crate::wire::{Lane, MessageId};

/// Normal broadcasts between two surveys: at eight links a node they cost a twentieth of a copy.
const EVERY: u32 = 128;
/// Surveys nearer to each other than this are passed on as if they were none.
const LEAST: Duration = Duration::from_secs(2);
/// Of the mean round trip, what one link less is worth.
const WORTH: u32 = 2;

#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Normal broadcasts since the last one.
    since: u32,
    begun_at: Option<Duration>,
    id: Option<MessageId>,
    /// Who brought it first, and the links it had crossed: who had it after more links may hang below this node.
    first_hops: u8,
    parent: Option<(NodeId, u8)>,
}

impl Survey {
    /// Notes a broadcast that came for the first time.
    pub(crate) fn count(&mut self, lane: Lane) {
        self.since = self.since.saturating_add(u32::from(lane == Lane::Normal));
    }

    /// At once if there was none yet, and sooner if payloads get lost.
    pub(crate) fn is_due(&self, is_lossy: bool) -> bool {
        self.begun_at.is_none() || self.since >= if is_lossy { EVERY / 4 } else { EVERY }
    }

    /// A survey comes by. `false` if it is too soon for one.
    pub(crate) fn begin(&mut self, now: Duration, id: MessageId, parent: Option<(NodeId, u8)>) -> bool {
        if self.begun_at.is_some_and(|at| now.saturating_sub(at) < LEAST) {
            return false;
        }
        let first_hops = parent.map_or(0, |(_, hops)| hops);
        *self = Self { since: 0, begun_at: Some(now), id: Some(id), first_hops, parent };
        true
    }

    /// Whether this is the last one, and came from a neighbour or from here.
    pub(crate) fn is_current(&self, id: &MessageId) -> bool {
        self.id.as_ref() == Some(id)
    }

    /// Another link brings the same survey. If it is worth more than the one so far, which is returned, it takes its
    /// place. Only ways that were shorter when this node first heard of it count, so that no circle can form.
    pub(crate) fn shorter(
        &mut self,
        now: Duration,
        id: MessageId,
        from: NodeId,
        hops: u8,
        mean_rtt: Duration,
    ) -> Option<NodeId> {
        let (parent, parent_hops) = self.parent.filter(|_| self.id == Some(id))?;
        let late = now.saturating_sub(self.begun_at?);
        let saved = parent_hops.saturating_sub(hops);
        if parent == from || hops >= self.first_hops || late >= mean_rtt * u32::from(saved) / WORTH {
            return None;
        }
        self.parent = Some((from, hops));
        Some(parent)
    }
}

/// How often pushed payloads fail to come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss {
    /// In parts of 65,536.
    part: u32,
}

impl Loss {
    pub(crate) fn sample(&mut self, is_lost: bool) {
        let sample = if is_lost { 65_536 } else { 0 };
        self.part = (self.part * 127 + sample) / 128;
    }

    /// Above one in thirty a node takes two copies. What one broken link costs is less.
    pub(crate) fn is_high(&self) -> bool {
        self.part > 65_536 / 30
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        cs_identity::SecretKey::from_bytes([number; 32]).node_id()
    }

    /// GOS-18
    #[test]
    fn a_way_that_saves_links_is_worth_a_moment_and_no_longer_way_ever_is() {
        let ms = Duration::from_millis;
        let id = MessageId::from_bytes([1; 16]);
        for (late, hops, is_better) in
            [(10, 3, true), (110, 3, false), (10, 5, false), (10, 6, false), (60, 2, true)]
        {
            let mut survey = Survey::default();
            assert!(survey.begin(ms(1000), id, Some((node(1), 5))));
            let parent = survey.shorter(ms(1000 + late), id, node(2), hops, ms(100));
            assert_eq!(parent.is_some(), is_better, "{late} {hops}");
        }
    }

    /// GOS-18
    #[test]
    fn surveys_are_due_after_many_broadcasts_and_never_in_quick_succession() {
        let mut survey = Survey::default();
        let id = MessageId::from_bytes([1; 16]);
        assert!(survey.is_due(false) && survey.begin(Duration::from_secs(1), id, None));
        (0..EVERY - 1).for_each(|_| survey.count(Lane::Normal));
        (0..EVERY).for_each(|_| survey.count(Lane::Urgent));
        assert!(!survey.is_due(false) && survey.is_due(true));
        survey.count(Lane::Normal);
        assert!(survey.is_due(false));
        assert!(survey.begin(Duration::from_secs(5), id, None) && !survey.is_due(true));
        assert!(!survey.begin(Duration::from_secs(6), id, None));
        assert!(survey.begin(Duration::from_secs(7), id, None));
    }

    /// GOS-18
    #[test]
    fn one_payload_in_twenty_lost_is_high_and_one_in_a_hundred_is_not() {
        let mut loss = Loss::default();
        (0..1000).for_each(|turn| loss.sample(turn % 100 == 0));
        assert!(!loss.is_high());
        (0..1000).for_each(|turn| loss.sample(turn % 20 == 0));
        assert!(loss.is_high());
    }
}
