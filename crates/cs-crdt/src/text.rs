//! Text that people edit together, character by character (Unicode scalar values).

use alloc::{string::String, vec::Vec};

use crate::{
    actor::{Actors, Dot},
    context::{Context, Seen},
    entries::Entries,
    sequence::{Items, Sequence, Span},
};

/// Characters to a run in memory: cutting a run copies no more than this.
pub(crate) const RUN_CHARS_MAX: u32 = 256;

/// Characters with consecutive dots, all live or all removed. Removed ones are forgotten but for their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Live { text: String, chars: u32 },
    Dead(u32),
}

impl Run {
    pub(crate) fn live(text: &str) -> Self {
        Self::Live { text: text.into(), chars: count_chars(text) }
    }

    /// Appends `count` characters, if there is room.
    fn type_on(&mut self, more: &str, count: u32) -> bool {
        match self {
            Self::Live { text, chars } if chars.saturating_add(count) <= RUN_CHARS_MAX => {
                text.push_str(more);
                *chars += count;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Live { text, .. } => text,
            Self::Dead(_) => "",
        }
    }
}

fn count_chars(text: &str) -> u32 {
    let count = if text.is_ascii() { text.len() } else { text.chars().count() };
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The byte where the character `at` begins.
fn byte_of(text: &str, chars: u32, at: u32) -> usize {
    if text.len() == chars as usize {
        return at as usize;
    }
    text.char_indices().nth(at as usize).map_or(text.len(), |(byte, _)| byte)
}

impl Items for Run {
    fn len(&self) -> u32 {
        match self {
            Self::Live { chars, .. } => *chars,
            Self::Dead(chars) => *chars,
        }
    }

    fn visible(&self) -> u32 {
        match self {
            Self::Live { chars, .. } => *chars,
            Self::Dead(_) => 0,
        }
    }

    fn split_off(&mut self, at: u32) -> Self {
        match self {
            Self::Live { text, chars } => {
                let tail = text.split_off(byte_of(text, *chars, at));
                let rest = *chars - at;
                *chars = at;
                Self::Live { text: tail, chars: rest }
            }
            Self::Dead(chars) => {
                let rest = *chars - at;
                *chars = at;
                Self::Dead(rest)
            }
        }
    }

    fn append(&mut self, next: Self) -> Result<(), Self> {
        match (self, next) {
            (Self::Live { text, chars }, Self::Live { text: more, chars: count })
                if chars.saturating_add(count) <= RUN_CHARS_MAX =>
            {
                text.push_str(&more);
                *chars += count;
                Ok(())
            }
            (Self::Dead(chars), Self::Dead(count)) => match chars.checked_add(count) {
                Some(sum) => {
                    *chars = sum;
                    Ok(())
                }
                None => Err(Self::Dead(count)),
            },
            (_, next) => Err(next),
        }
    }

    fn offset_of_visible(&self, within: u32) -> u32 {
        within
    }

    fn visible_before(&self, offset: u32) -> u32 {
        self.visible().min(offset)
    }
}

/// A text. Like a map, it is named by its place, and exists while its mark or any character is alive.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Text {
    pub(crate) presence: Entries<()>,
    pub(crate) runs: Sequence<Run>,
}

impl Text {
    pub(crate) fn is_live(&self) -> bool {
        !self.presence.is_empty() || self.runs.visible() > 0
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.presence.is_empty() && self.runs.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.runs.visible()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for span in self.runs.spans() {
            text.push_str(span.items.text());
        }
        text
    }

    /// The live characters among `count` from `first`, run by run.
    pub(crate) fn slices(&self, first: Dot, count: u64) -> Vec<(Dot, String)> {
        let mut slices = Vec::new();
        let mut at = 0;
        while at < count {
            let dot = first.plus(at);
            let Some((run, offset)) = self.runs.find(dot) else { break };
            let take = u64::from(run.len() - offset).min(count - at);
            let slice: String = run.text().chars().skip(offset as usize).take(take as usize).collect();
            if !slice.is_empty() {
                slices.push((dot, slice));
            }
            at += take;
        }
        slices
    }

    /// Inserts `text` with dots from `id` on; whether it took effect.
    pub(crate) fn insert(
        &mut self,
        id: Dot,
        left: Option<Dot>,
        right: Option<Dot>,
        text: &str,
        actors: &Actors,
    ) -> bool {
        if let Some(left) = left {
            let count = count_chars(text);
            if self.runs.type_on(id, count, left, right, |run| run.type_on(text, count)) {
                return true;
            }
        }
        let mut rest = text;
        let (mut id, mut left) = (id, left);
        while !rest.is_empty() {
            let cut = rest.char_indices().nth(RUN_CHARS_MAX as usize).map_or(rest.len(), |(byte, _)| byte);
            let (part, tail) = rest.split_at(cut);
            let items = Run::live(part);
            let count = u64::from(items.len());
            if !self.runs.insert(Span { id, left, right, items }, actors) {
                return false;
            }
            left = Some(id.plus(count - 1));
            id = id.plus(count);
            rest = tail;
        }
        true
    }

    /// Inserts `count` positions without characters.
    pub(crate) fn insert_removed(
        &mut self,
        id: Dot,
        left: Option<Dot>,
        right: Option<Dot>,
        count: u64,
        actors: &Actors,
    ) {
        let items = Run::Dead(u32::try_from(count).unwrap_or(u32::MAX));
        self.runs.insert(Span { id, left, right, items }, actors);
    }

    pub(crate) fn remove(&mut self, first: Dot, count: u64) {
        self.runs.edit_range(first, count, |run| *run = Run::Dead(run.len()));
    }

    pub(crate) fn clear(&mut self, seen: &Seen) {
        self.presence.clear(seen);
        for (actor, limit) in seen.iter() {
            self.runs.edit_range(Dot::new(actor, 1), limit, |run| *run = Run::Dead(run.len()));
        }
    }

    /// Forgets removed characters (CRDT-20).
    pub(crate) fn compact(&mut self) {
        self.runs.compact(|run| {
            let count = run.len();
            Vec::from([(count, (run.visible() > 0).then_some(run))])
        });
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        self.presence.note(seen);
        for span in self.runs.spans().filter(|span| span.items.visible() > 0) {
            seen.note(span.id.plus(u64::from(span.items.len()) - 1));
        }
    }

    pub(crate) fn join(&mut self, other: Self, ours: &Context, theirs: &Context, actors: &Actors) {
        self.presence.join(other.presence, ours, theirs);
        let dead: Vec<(Dot, u32)> = other
            .runs
            .spans()
            .filter(|span| span.items.visible() == 0)
            .map(|span| (span.id, span.items.len()))
            .collect();
        crate::join::adopt(&mut self.runs, other.runs, actors);
        for (first, count) in dead {
            self.remove(first, count.into());
        }
    }
}
