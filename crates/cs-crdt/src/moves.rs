//! Elements of lists that move (CRDT-12): each has one register of positions
//! ([Kleppmann 2020](https://martin.kleppmann.com/papers/list-move-papoc20.pdf)).
//!
//! An element is named by the dot that inserted it, for good. A move inserts an empty item, the *carrier*, where the element
//! goes, and writes the carrier into the element's register: the latest write wins, so that an element which two people move
//! apart is in one place afterwards and not in two.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    actor::{Actors, Dot},
    context::{Context, Seen},
    entries::Entries,
    list::List,
};

/// How an item of a list shows, if it is not simply an element at home.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Position {
    #[default]
    Home,
    /// The element is shown elsewhere.
    Away,
    /// Shows an element that was moved here, while that is alive.
    Carrier { element: Dot, shown: bool },
}

/// One element's register of positions: carriers, and when each move was made by its author's clock.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claims {
    pub(crate) entries: Entries<u64>,
    winner: Option<Dot>,
}

impl Claims {
    fn settle(&mut self, actors: &Actors) {
        let latest = |a: &(Dot, &u64), b: &(Dot, &u64)| a.1.cmp(b.1).then_with(|| actors.compare(a.0, b.0));
        self.winner = self.entries.iter().max_by(latest).map(|entry| entry.0);
    }
}

/// The moved elements of a list.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Moves(BTreeMap<Dot, Claims>);

impl Moves {
    pub(crate) fn is_blank(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn claims(&self, element: Dot) -> Option<&Claims> {
        self.0.get(&element)
    }

    /// Elements and their registers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, &Claims)> {
        self.0.iter().map(|(element, claims)| (*element, claims))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The item that shows `element`.
    pub(crate) fn item_of(&self, element: Dot) -> Dot {
        self.0.get(&element).and_then(|claims| claims.winner).unwrap_or(element)
    }

    /// What a move of `element` replaces.
    pub(crate) fn seen(&self, element: Dot) -> Seen {
        self.0.get(&element).map(|claims| claims.entries.dots().collect()).unwrap_or_default()
    }

    /// Moves `element` to `carrier`, an item of `list` already.
    pub(crate) fn claim(
        &mut self,
        list: &mut List,
        element: Dot,
        carrier: Dot,
        seen: &Seen,
        unix_ms: u64,
        actors: &Actors,
    ) {
        let mut claims = self.0.get(&element).cloned().unwrap_or_default();
        claims.entries.clear(seen);
        claims.entries.insert(carrier, unix_ms);
        claims.settle(actors);
        self.put(list, element, Some(claims));
    }

    /// Sets an element's register, and what shows where because of it.
    pub(crate) fn put(&mut self, list: &mut List, element: Dot, claims: Option<Claims>) {
        if let Some(carrier) = self.0.remove(&element).and_then(|claims| claims.winner) {
            let role = if self.0.contains_key(&carrier) { Position::Away } else { Position::Home };
            list.set_position(carrier, role);
        }
        if let Some(claims) = claims {
            self.0.insert(element, claims);
        }
        self.show(list, element);
    }

    fn show(&self, list: &mut List, element: Dot) {
        let carrier = self.0.get(&element).and_then(|claims| claims.winner);
        if !matches!(list.position(element), Position::Carrier { .. }) {
            let role = if carrier.is_some() { Position::Away } else { Position::Home };
            list.set_position(element, role);
        }
        if let Some(carrier) = carrier {
            let shown = list.is_alive(element);
            list.set_position(carrier, Position::Carrier { element, shown });
        }
    }

    /// Elements that moved among `count` from `first`, of which some may have died or come back.
    pub(crate) fn refresh(&self, list: &mut List, first: Dot, count: u64) {
        for (element, claims) in self.0.range(first..first.plus(count)) {
            if let Some(carrier) = claims.winner {
                let shown = list.is_alive(*element);
                list.set_position(carrier, Position::Carrier { element: *element, shown });
            }
        }
    }

    pub(crate) fn refresh_all(&self, list: &mut List) {
        let elements: Vec<Dot> = self.0.keys().copied().collect();
        elements.into_iter().for_each(|element| self.refresh(list, element, 1));
    }

    /// Registers as a snapshot held them. The list's items have no positions yet.
    pub(crate) fn restore(&mut self, list: &mut List, element: Dot, entries: Entries<u64>, actors: &Actors) {
        let mut claims = Claims { entries, winner: None };
        claims.settle(actors);
        self.put(list, element, Some(claims));
    }

    /// Joins registers, once the lists themselves are joined.
    pub(crate) fn join(
        &mut self,
        list: &mut List,
        other: Self,
        ours: &Context,
        theirs: &Context,
        actors: &Actors,
    ) {
        let mut joined = core::mem::take(&mut self.0);
        for (element, claims) in joined.iter().chain(&other.0) {
            for item in claims.entries.dots().chain([*element]) {
                list.set_position(item, Position::Home);
            }
        }
        let mut others = other.0;
        for (element, claims) in &mut joined {
            let theirs_too = others.remove(element).unwrap_or_default();
            claims.entries.join(theirs_too.entries, ours, theirs);
        }
        for (element, claims) in others {
            let mut kept = Claims::default();
            kept.entries.join(claims.entries, ours, theirs);
            joined.insert(element, kept);
        }
        joined.retain(|_, claims| {
            claims.settle(actors);
            claims.winner.is_some()
        });
        for (element, claims) in joined {
            self.put(list, element, Some(claims));
        }
    }
}
