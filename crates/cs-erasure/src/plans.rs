use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::code::{Code, count};
use crate::fault::Refused;
use crate::repair::Repair;

/// Plans of a code by loss pattern, so that each is made once while its losses last.
///
/// Holds the `capacity` patterns used last. A lookup compares patterns one after the other: a handful of them is what a
/// cluster has at a time.
#[derive(Clone, Debug)]
pub struct Plans<'c> {
    code: &'c Code,
    capacity: usize,
    /// The one used last is at the end.
    plans: Vec<(Vec<bool>, bool, Arc<Repair>)>,
}

impl<'c> Plans<'c> {
    /// Room for `capacity` plans, at least one.
    pub fn new(code: &'c Code, capacity: usize) -> Self {
        Self { code, capacity: capacity.max(1), plans: Vec::new() }
    }

    /// As [`Code::reconstruct`].
    pub fn reconstruct<S: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        shards: &mut [S],
        present: &[bool],
    ) -> Result<(), Refused> {
        self.plan(present, false)?.run_in_place(shards)
    }

    /// As [`Code::reconstruct_data`].
    pub fn reconstruct_data<S: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        shards: &mut [S],
        present: &[bool],
    ) -> Result<(), Refused> {
        self.plan(present, true)?.run_in_place(shards)
    }

    /// The plan that makes every shard whose entry in `present` is false, or the data shards among them only.
    pub fn plan(&mut self, present: &[bool], data_only: bool) -> Result<Arc<Repair>, Refused> {
        let is_it = |(pattern, only, _): &(Vec<bool>, bool, Arc<Repair>)| {
            *only == data_only && pattern[..] == *present
        };
        if let Some(position) = self.plans.iter().position(is_it) {
            self.plans[position..].rotate_left(1);
        } else {
            count(present.len(), self.code.total_shards())?;
            let available: Vec<usize> = (0..present.len()).filter(|i| present[*i]).collect();
            let below = if data_only { self.code.data_shards() } else { present.len() };
            let wanted: Vec<usize> = (0..below).filter(|i| !present[*i]).collect();
            let plan = Arc::new(self.code.repair(&available, &wanted)?);
            if self.plans.len() == self.capacity {
                self.plans.remove(0);
            }
            self.plans.push((present.to_vec(), data_only, plan));
        }
        let (_, _, plan) = self.plans.last().expect("a plan was found or pushed");
        Ok(plan.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_made_once_and_the_oldest_makes_room() {
        let code = Code::new(2, 2).expect("a geometry");
        let mut plans = Plans::new(&code, 2);
        let patterns = [[true, false, true, true], [false, true, true, true], [true, true, false, true]];
        let first = plans.plan(&patterns[0], false).expect("enough shards");
        plans.plan(&patterns[1], false).expect("enough shards");
        assert!(Arc::ptr_eq(&first, &plans.plan(&patterns[0], false).expect("enough shards")));
        plans.plan(&patterns[2], false).expect("enough shards");
        assert!(Arc::ptr_eq(&first, &plans.plan(&patterns[0], false).expect("enough shards")));
        plans.plan(&patterns[1], false).expect("enough shards");
        plans.plan(&patterns[2], false).expect("enough shards");
        assert!(!Arc::ptr_eq(&first, &plans.plan(&patterns[0], false).expect("enough shards")));
        assert_eq!(plans.plans.len(), 2);
    }
}
