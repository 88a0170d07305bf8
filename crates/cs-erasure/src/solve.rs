//! Linear combinations that are looked for rather than known.

use alloc::vec;
use alloc::vec::Vec;

use crate::gf16::{div, mul};

/// Factors of `rows` whose sum is `target`, or nothing if there are none. Rows that depend on earlier ones get the factor 0.
/// Time O(r^2 c) for r rows of c columns.
pub(crate) fn express(rows: &[Vec<u16>], target: &[u16]) -> Option<Vec<u16>> {
    // Each reduced row, its pivot's column, and how it is made from the given rows.
    let mut reduced: Vec<(usize, Vec<u16>, Vec<u16>)> = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        let mut row = row.clone();
        let mut made = vec![0; rows.len()];
        made[i] = 1;
        eliminate(&reduced, &mut row, &mut made);
        if let Some(pivot) = row.iter().position(|x| *x != 0) {
            let scale = div(1, row[pivot]);
            row.iter_mut().chain(&mut made).for_each(|x| *x = mul(*x, scale));
            reduced.push((pivot, row, made));
        }
    }
    let mut rest = target.to_vec();
    let mut factors = vec![0; rows.len()];
    eliminate(&reduced, &mut rest, &mut factors);
    rest.iter().all(|x| *x == 0).then_some(factors)
}

fn eliminate(reduced: &[(usize, Vec<u16>, Vec<u16>)], row: &mut [u16], made: &mut [u16]) {
    for (pivot, other, how) in reduced {
        let factor = row[*pivot];
        if factor != 0 {
            row.iter_mut().zip(other).for_each(|(x, y)| *x ^= mul(factor, *y));
            made.iter_mut().zip(how).for_each(|(x, y)| *x ^= mul(factor, *y));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_expressed_by_those_it_depends_on_and_by_no_others() {
        let rows = [vec![1, 0, 0, 0], vec![0, 1, 1, 0], vec![1, 1, 1, 0], vec![0, 0, 7, 0]];
        assert_eq!(express(&rows, &[1, 1, 1, 0]), Some(vec![1, 1, 0, 0]));
        assert_eq!(express(&rows, &[0, 0, 14, 0]), Some(vec![0, 0, 0, div(14, 7)]));
        assert_eq!(express(&rows, &[0, 0, 0, 1]), None);
    }
}
