//! Registers whose concurrent writes make one value: least, greatest, sum, union (CRDT-11).

use alloc::{boxed::Box, collections::BTreeSet, vec::Vec};
use core::cmp::Ordering;

use crate::{
    actor::{Actors, Dot},
    change::Kind,
    context::{Context, Seen},
    entries::Entries,
    value::{Float, Scalar, Value},
};

/// How a register makes one value of what was written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fold {
    /// The least of all writes; it never grows but by a reset.
    Min,
    /// The greatest of all writes; it never shrinks but by a reset.
    Max,
    /// The sum of what each author wrote last: everybody's own share of one total.
    Sum,
    /// All that anybody's last write holds.
    Union,
}

impl Fold {
    pub(crate) const ALL: [Self; 4] = [Self::Min, Self::Max, Self::Sum, Self::Union];

    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Min => Kind::Min,
            Self::Max => Kind::Max,
            Self::Sum => Kind::Sum,
            Self::Union => Kind::Union,
        }
    }

    /// Whether a register of this kind can take these values.
    pub(crate) fn admits(self, values: &[Scalar]) -> bool {
        match (self, values) {
            (Self::Union, []) => false,
            (Self::Union, _) => values.is_sorted_by(|a, b| a < b),
            (Self::Sum, [Scalar::Int(_) | Scalar::Float(_)]) => true,
            (Self::Min | Self::Max, [_]) => true,
            _ => false,
        }
    }
}

/// What a fold register holds: the writes that nothing replaced.
pub(crate) type Writes = Entries<Box<[Scalar]>>;

/// The fold registers of one place, one for each way to fold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Folds([Writes; 4]);

impl Folds {
    pub(crate) fn is_blank(&self) -> bool {
        self.0.iter().all(Entries::is_empty)
    }

    pub(crate) fn writes(&self, fold: Fold) -> &Writes {
        let [min, max, sum, union] = &self.0;
        match fold {
            Fold::Min => min,
            Fold::Max => max,
            Fold::Sum => sum,
            Fold::Union => union,
        }
    }

    pub(crate) fn writes_mut(&mut self, fold: Fold) -> &mut Writes {
        let [min, max, sum, union] = &mut self.0;
        match fold {
            Fold::Min => min,
            Fold::Max => max,
            Fold::Sum => sum,
            Fold::Union => union,
        }
    }

    /// The one value of all writes, `None` if there are none.
    pub(crate) fn value(&self, fold: Fold, actors: &Actors) -> Option<Value> {
        let writes = self.writes(fold);
        let all = || writes.iter().flat_map(|(_, values)| values.iter());
        if writes.is_empty() {
            return None;
        }
        Some(match fold {
            Fold::Min => Value::Scalar(all().min_by(|a, b| compare(a, b))?.clone()),
            Fold::Max => Value::Scalar(all().max_by(|a, b| compare(a, b))?.clone()),
            Fold::Sum => Value::Scalar(self.sum(actors)),
            Fold::Union => {
                let members: BTreeSet<&Scalar> = all().collect();
                Value::Array(members.into_iter().cloned().map(Value::Scalar).collect())
            }
        })
    }

    /// Exact for integers (beyond `i64`, its nearest bound); with a float among them, added up as floats in the order
    /// of authors, alike everywhere.
    fn sum(&self, actors: &Actors) -> Scalar {
        let mut shares: Vec<(Dot, &Scalar)> = Vec::new();
        for (dot, values) in self.writes(Fold::Sum).iter() {
            shares.extend(values.iter().map(|value| (dot, value)));
        }
        shares.sort_by(|a, b| actors.compare(a.0, b.0));
        let (mut whole, mut real, mut is_whole) = (0i128, 0f64, true);
        for (_, share) in shares {
            match share {
                Scalar::Int(number) => {
                    whole = whole.saturating_add((*number).into());
                    real += *number as f64;
                }
                Scalar::Float(number) => {
                    is_whole = false;
                    real += number.to_f64();
                }
                _ => {}
            }
        }
        if is_whole {
            return Scalar::Int(whole.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
        }
        let bounded = if real.is_nan() { 0.0 } else { real.clamp(f64::MIN, f64::MAX) };
        Float::new(bounded).map_or(Scalar::Int(0), Scalar::Float)
    }

    pub(crate) fn clear(&mut self, seen: &Seen) {
        self.0.iter_mut().for_each(|writes| writes.clear(seen));
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        self.0.iter().for_each(|writes| writes.note(seen));
    }

    pub(crate) fn join(&mut self, other: Self, ours: &Context, theirs: &Context) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            own.join(other, ours, theirs);
        }
    }
}

/// As scalars compare, but numbers by what they are worth; of equal ones the integer is less.
pub(crate) fn compare(a: &Scalar, b: &Scalar) -> Ordering {
    match (a, b) {
        (Scalar::Int(a), Scalar::Float(b)) => compare_mixed(*a, b.to_f64()),
        (Scalar::Float(a), Scalar::Int(b)) => compare_mixed(*b, a.to_f64()).reverse(),
        _ => a.cmp(b),
    }
}

fn compare_mixed(whole: i64, real: f64) -> Ordering {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if real >= TWO_TO_63 {
        return Ordering::Less;
    }
    if real < -TWO_TO_63 {
        return Ordering::Greater;
    }
    let cut = real as i64;
    let rest = if real > cut as f64 {
        Ordering::Less
    } else if real < cut as f64 {
        Ordering::Greater
    } else {
        Ordering::Less
    };
    whole.cmp(&cut).then(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_worth_across_types() {
        let float = |value: f64| Scalar::Float(Float::new(value).expect("finite"));
        let ascending = [
            float(-1e300),
            Scalar::Int(i64::MIN),
            Scalar::Int(-1),
            float(-0.5),
            Scalar::Int(0),
            float(0.25),
            Scalar::Int(1),
            float(1.0),
            float(1.5),
            Scalar::Int(i64::MAX),
            float(9_223_372_036_854_775_808.0),
        ];
        for (at, a) in ascending.iter().enumerate() {
            for (to, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), at.cmp(&to), "{a:?} {b:?}");
            }
        }
    }
}
