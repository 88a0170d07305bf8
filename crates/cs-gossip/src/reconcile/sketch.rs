//! PinSketch: the odd power sums of a set of nonzero field elements, decoded as a BCH code.
//!
//! Sources: Dodis, Ostrovsky, Reyzin, Smith, "Fuzzy extractors" (SIAM J. Comput. 2008), section 6.3;
//! roots by Berlekamp's trace algorithm (Math. Comp. 1970). The sketch of a symmetric difference is the sum
//! of the sketches, and `t` syndromes determine up to `t` elements.

use crate::reconcile::field::Field;

/// The elements whose odd power sums are `syndromes`, in ascending order; `None` unless they are fewer than those.
/// `O(t^2)` field operations times the bits of the field.
pub(crate) fn decode(field: Field, syndromes: &[u32]) -> Option<Vec<u32>> {
    if syndromes.iter().all(|&syndrome| syndrome == 0) {
        return Some(Vec::new());
    }
    let locator = berlekamp_massey(field, &expand(field, syndromes));
    let degree = locator.len() - 1;
    // More elements than that make a recurrence of full length, which is told here at little cost. A short random polynomial
    // would also split by chance too often, one in `t!`.
    if degree == 0 || degree >= syndromes.len() || *locator.last()? == 0 {
        return None;
    }
    // The locator has the inverses as roots: read backwards it has the elements, and is monic.
    let polynomial: Vec<u32> = locator.into_iter().rev().collect();
    let mut roots = find_roots(field, &polynomial)?;
    roots.sort_unstable();
    let mut again = vec![0; syndromes.len()];
    field.add_odd_powers(&mut again, &roots);
    (again == syndromes).then_some(roots)
}

/// All power sums from the odd ones: `s(2i) = s(i)^2` in characteristic 2.
fn expand(field: Field, odd: &[u32]) -> Vec<u32> {
    let mut all: Vec<u32> = Vec::with_capacity(odd.len() * 2);
    for (index, &syndrome) in odd.iter().enumerate() {
        all.push(syndrome);
        all.push(field.square(all[index]));
    }
    all
}

/// The shortest linear recurrence of `sequence`, constant term first (Massey, IEEE Trans. IT 1969).
fn berlekamp_massey(field: Field, sequence: &[u32]) -> Vec<u32> {
    let mut current = vec![1u32];
    let mut previous = vec![1u32];
    let (mut length, mut gap, mut previous_discrepancy) = (0usize, 1usize, 1u32);
    for index in 0..sequence.len() {
        let terms = length.min(current.len() - 1) + 1;
        let discrepancy = field.convolve(&current[..terms], &sequence[index + 1 - terms..=index]);
        if discrepancy == 0 {
            gap += 1;
            continue;
        }
        let factor = field.mul(discrepancy, field.invert(previous_discrepancy));
        let before = current.clone();
        if current.len() < previous.len() + gap {
            current.resize(previous.len() + gap, 0);
        }
        field.add_scaled(&mut current[gap..], factor, &previous);
        if 2 * length <= index {
            length = index + 1 - length;
            (previous, previous_discrepancy, gap) = (before, discrepancy, 1);
        } else {
            gap += 1;
        }
    }
    current.resize(length + 1, 0);
    current
}

/// All roots of a monic polynomial (lowest coefficient first), if it splits into distinct linear factors.
fn find_roots(field: Field, polynomial: &[u32]) -> Option<Vec<u32>> {
    let degree = polynomial.len() - 1;
    if degree == 1 {
        return Some(vec![polynomial[0]]);
    }
    // x^(2^j) modulo the polynomial, for every j below b. It splits if x^(2^b) = x.
    let mut powers: Vec<Vec<u32>> = Vec::with_capacity(usize::from(field.bits) + 1);
    let mut power = vec![0u32; degree];
    power[1] = 1;
    for _ in 0..field.bits {
        let next = square_modulo(field, &power, polynomial);
        powers.push(power);
        power = next;
    }
    if power != powers[0] {
        return None;
    }
    let mut roots = Vec::with_capacity(degree);
    let mut factors = vec![polynomial.to_vec()];
    for bit in 0..field.bits {
        if factors.is_empty() {
            break;
        }
        let trace = trace_of(field, 1 << bit, &powers);
        let mut parts = Vec::with_capacity(factors.len() * 2);
        for factor in factors {
            split(field, factor, &trace, &mut parts);
        }
        factors = parts;
        factors.retain(|factor| {
            if factor.len() == 2 {
                roots.push(factor[0]);
            }
            factor.len() > 2
        });
    }
    (factors.is_empty() && roots.len() == degree).then_some(roots)
}

/// The trace of `beta * x` as a polynomial: zero at half of the field, and for some basis element `beta` at
/// exactly one of any two distinct roots.
fn trace_of(field: Field, beta: u32, powers: &[Vec<u32>]) -> Vec<u32> {
    let mut trace = vec![0u32; powers[0].len()];
    let mut scale = beta;
    for power in powers {
        field.add_scaled(&mut trace, scale, power);
        scale = field.square(scale);
    }
    trace
}

/// Splits `factor` by its common divisor with `trace`; pushes one or two monic parts.
fn split(field: Field, factor: Vec<u32>, trace: &[u32], parts: &mut Vec<Vec<u32>>) {
    let mut remainder = trace.to_vec();
    divide(field, &mut remainder, &factor);
    let divisor = gcd(field, factor.clone(), remainder);
    if divisor.len() == 1 || divisor.len() == factor.len() {
        parts.push(factor);
        return;
    }
    let mut rest = factor;
    let quotient = divide(field, &mut rest, &divisor);
    parts.push(divisor);
    parts.push(quotient);
}

fn square_modulo(field: Field, polynomial: &[u32], modulus: &[u32]) -> Vec<u32> {
    let mut product = vec![0u32; polynomial.len() * 2 - 1];
    for (index, &coefficient) in polynomial.iter().enumerate() {
        product[index * 2] = field.square(coefficient);
    }
    divide(field, &mut product, modulus);
    product.resize(modulus.len() - 1, 0);
    product
}

/// Divides by a monic polynomial: leaves the remainder (trimmed) in place and returns the quotient.
fn divide(field: Field, dividend: &mut Vec<u32>, monic: &[u32]) -> Vec<u32> {
    let degree = monic.len() - 1;
    let mut quotient = vec![0u32; dividend.len().saturating_sub(degree)];
    for shift in (0..quotient.len()).rev() {
        let lead = dividend[shift + degree];
        quotient[shift] = lead;
        if lead != 0 {
            field.add_scaled(&mut dividend[shift..], lead, monic);
        }
    }
    dividend.truncate(degree);
    trim(dividend);
    quotient
}

/// The greatest common divisor, monic. `a` is monic.
fn gcd(field: Field, mut a: Vec<u32>, mut b: Vec<u32>) -> Vec<u32> {
    trim(&mut b);
    while !b.is_empty() {
        make_monic(field, &mut b);
        divide(field, &mut a, &b);
        core::mem::swap(&mut a, &mut b);
    }
    a
}

fn make_monic(field: Field, polynomial: &mut [u32]) {
    let inverse = field.invert(polynomial.last().copied().unwrap_or(1));
    for coefficient in polynomial {
        *coefficient = field.mul(*coefficient, inverse);
    }
}

fn trim(polynomial: &mut Vec<u32>) {
    while polynomial.last() == Some(&0) {
        polynomial.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    fn sketch(field: Field, elements: impl IntoIterator<Item = u32>, depth: usize) -> Vec<u32> {
        let mut syndromes = vec![0; depth];
        field.add_odd_powers(&mut syndromes, &elements.into_iter().collect::<Vec<_>>());
        syndromes
    }

    fn within(bits: u8, set: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
        set.into_iter().map(|element| element & Field::new(bits).mask() as u32).filter(|x| *x != 0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// REC-7
        #[test]
        fn any_set_within_capacity_is_found_exactly(
            bits in 8u8..=32,
            set in btree_set(1u32.., 0..=20),
            shared in btree_set(1u32.., 0..=10),
        ) {
            let (field, set, shared) = (Field::new(bits), within(bits, set), within(bits, shared));
            let all = set.iter().chain(&shared).chain(&shared).copied();
            let syndromes = sketch(field, all, set.len() + 1);
            prop_assert_eq!(decode(field, &syndromes), Some(set.into_iter().collect::<Vec<_>>()));
        }

        #[test]
        fn a_set_above_capacity_is_not_mistaken_for_another(
            bits in 24u8..=32, set in btree_set(1u32.., 20..=30), depth in 3usize..16,
        ) {
            let (field, set) = (Field::new(bits), within(bits, set));
            prop_assert_eq!(decode(field, &sketch(field, set, depth)), None);
        }

        #[test]
        fn any_syndromes_either_decode_to_themselves_or_not_at_all(
            bits in 8u8..=32, syndromes in proptest::collection::vec(any::<u32>(), 1..20),
        ) {
            let field = Field::new(bits);
            let syndromes: Vec<u32> = syndromes.into_iter().map(|s| s & field.mask() as u32).collect();
            if let Some(found) = decode(field, &syndromes) {
                prop_assert_eq!(sketch(field, found, syndromes.len()), syndromes);
            }
        }
    }

    #[test]
    fn neighbouring_elements_are_told_apart() {
        let (field, set) = (Field::new(8), (1..=24).collect::<Vec<u32>>());
        assert_eq!(decode(field, &sketch(field, set.clone(), 25)), Some(set));
    }
}
