//! What is measured: sizes of two sets and of what they do not share, and the information bound for it.

/// Two sets: what they share, and what each has alone.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    pub shared: usize,
    /// Ids of the initiator in all, and of the responder.
    pub ours: usize,
    pub theirs: usize,
    label: &'static str,
}

impl Point {
    /// As in the table of goals: `n / d`.
    pub fn name(&self) -> String {
        format!("{} / {} {}", short(self.size()), short(self.difference()), self.label).trim_end().to_owned()
    }

    pub fn size(&self) -> usize {
        self.ours.max(self.theirs)
    }

    pub fn only_ours(&self) -> usize {
        self.ours - self.shared
    }

    pub fn only_theirs(&self) -> usize {
        self.theirs - self.shared
    }

    pub fn difference(&self) -> usize {
        self.only_ours() + self.only_theirs()
    }

    /// Bytes that no protocol can do without: `log2 C(nA, dA) + log2 C(nB, dB)` bits.
    pub fn bound(&self) -> f64 {
        (choose(self.ours, self.only_ours()) + choose(self.theirs, self.only_theirs())) / 8.0
    }

    /// At most so many times the bound.
    pub fn goal(&self) -> Option<f64> {
        match self.difference() {
            d if self.ours.min(self.theirs) * 10 <= d => Some(2.5),
            d if 2 * d >= self.size() => Some(5.4),
            d if d >= 100 => Some(5.0),
            _ => None,
        }
    }

    pub fn quick_goal(&self) -> Option<f64> {
        (self.difference() >= 100).then_some(7.5)
    }
}

pub fn all() -> Vec<Point> {
    let mut points = Vec::new();
    for size in [1_000, 10_000, 100_000, 1_000_000] {
        for difference in [0, 1, 10, 100, 1_000, 10_000, size / 2] {
            if difference > size / 2 || (difference == size / 2 && points_has(&points, size, difference)) {
                continue;
            }
            let half = difference.div_ceil(2);
            let (shared, theirs) = (size - half, size - half + difference / 2);
            points.push(Point { shared, ours: size, theirs, label: "" });
            if difference > 0 {
                let shared = size - difference;
                points.push(Point { shared, ours: size, theirs: shared, label: "ours alone" });
                points.push(Point { shared, ours: shared, theirs: size, label: "theirs alone" });
            }
        }
    }
    let (small, large) = (10_000, 1_000_000);
    points.push(Point { shared: small, ours: small, theirs: large, label: "small asks" });
    points.push(Point { shared: small, ours: large, theirs: small, label: "large asks" });
    points
}

fn points_has(points: &[Point], size: usize, difference: usize) -> bool {
    points.iter().any(|point| point.size() == size && point.difference() == difference)
}

/// `log2` of the number of ways to choose `k` of `n`.
fn choose(n: usize, k: usize) -> f64 {
    let log = |n: usize| -> f64 {
        // Stirling's series; exact enough from 20 on, and summed below.
        if n < 20 {
            return (2..=n).map(|i| (i as f64).log2()).sum();
        }
        let n = n as f64;
        (n * n.ln() - n + 0.5 * (2.0 * std::f64::consts::PI * n).ln() + 1.0 / (12.0 * n))
            / std::f64::consts::LN_2
    };
    log(n) - log(k) - log(n - k)
}

fn short(number: usize) -> String {
    match number {
        0 => "0".to_owned(),
        n if n % 1_000_000 == 0 => format!("{}M", n / 1_000_000),
        n if n % 1_000 == 0 => format!("{}k", n / 1_000),
        n => n.to_string(),
    }
}

/// Id number `number` of a kind.
pub fn id(kind: u8, number: usize) -> [u8; 32] {
    let mut seed = [kind; 9];
    seed[1..].copy_from_slice(&(number as u64).to_le_bytes());
    *blake3::hash(&seed).as_bytes()
}

impl Point {
    pub fn our_ids(&self) -> impl Iterator<Item = [u8; 32]> {
        (0..self.shared).map(|n| id(0, n)).chain((0..self.only_ours()).map(|n| id(1, n)))
    }

    pub fn their_ids(&self) -> impl Iterator<Item = [u8; 32]> {
        (0..self.shared).map(|n| id(0, n)).chain((0..self.only_theirs()).map(|n| id(2, n)))
    }
}
