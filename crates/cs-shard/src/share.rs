/// Divides `total` in proportion to weights, nobody above its maximum, by largest remainders (SHARD-5). What a full one
/// cannot take goes to the others; what nobody can take is left over.
///
/// Items are (weight, maximum), the weights above 0; of equal remainders the first is served first. Exact integers: every
/// machine divides alike.
pub(crate) fn apportion(total: u64, items: &[(u64, u64)]) -> Vec<u64> {
    let mut shares = vec![0; items.len()];
    let mut open: Vec<usize> = (0..items.len()).collect();
    let mut left = total;
    let mut weight: u128;
    loop {
        weight = open.iter().map(|i| u128::from(items[*i].0)).sum();
        let fits = |i: &usize| u128::from(left) * u128::from(items[*i].0) < u128::from(items[*i].1) * weight;
        let (rest, full): (Vec<usize>, Vec<usize>) = open.iter().copied().partition(fits);
        if full.is_empty() {
            break;
        }
        for i in full {
            shares[i] = items[i].1;
            left -= items[i].1;
        }
        open = rest;
    }
    let mut remainders = Vec::with_capacity(open.len());
    let mut unserved = left;
    for i in open {
        let product = u128::from(left) * u128::from(items[i].0);
        shares[i] = (product / weight) as u64;
        unserved -= shares[i];
        remainders.push((core::cmp::Reverse(product % weight), i));
    }
    remainders.sort_unstable();
    for (_, i) in remainders.iter().take(unserved as usize) {
        shares[*i] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_full_one_cannot_take_goes_to_the_others() {
        assert_eq!(apportion(10, &[(1, 100), (1, 100), (2, 100)]), [3, 2, 5]);
        assert_eq!(apportion(10, &[(100, 4), (1, 100), (2, 100)]), [4, 2, 4]);
        assert_eq!(apportion(10, &[(1, 3), (1, 3)]), [3, 3]);
        assert_eq!(apportion(0, &[(1, 3)]), [0]);
    }

    proptest! {
        #[test]
        fn everything_is_divided_within_the_maxima_and_one_of_proportion(
            total in 0u64..10_000, items in prop::collection::vec((1u64..1000, 0u64..500), 1..40),
        ) {
            let shares = apportion(total, &items);
            let room: u64 = items.iter().map(|item| item.1).sum();
            prop_assert_eq!(shares.iter().sum::<u64>(), total.min(room));
            for (share, item) in shares.iter().zip(&items) {
                prop_assert!(*share <= item.1);
                // Nobody who is not full has less by its weight than another one, but for one rounding each.
                for (other, other_item) in shares.iter().zip(&items).filter(|_| *share < item.1) {
                    prop_assert!((share + 1) * other_item.0 >= other.saturating_sub(1) * item.0);
                }
            }
        }
    }
}
