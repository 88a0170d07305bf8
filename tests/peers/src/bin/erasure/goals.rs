//! What prototypes reached on a machine of an older kind, GB/s of data: the bar beside that of the peers in the same run.

use crate::Task;

/// In the order of the geometries and lengths.
const ENCODE: [Option<[f64; 3]>; 7] = [
    Some([14.6, 27.0, 27.0]),
    Some([16.7, 20.0, 12.0]),
    Some([22.0, 25.0, 12.0]),
    Some([8.3, 8.3, 5.1]),
    Some([6.2, 5.8, 3.0]),
    Some([3.7, 3.4, 2.9]),
    None,
];
const MAX: [Option<[f64; 3]>; 7] = [
    Some([13.0, 27.0, 29.0]),
    Some([12.0, 14.0, 13.0]),
    Some([13.0, 13.0, 12.0]),
    Some([5.3, 5.2, 4.7]),
    Some([0.8; 3]),
    Some([0.4; 3]),
    None,
];

pub(crate) fn goal(task: Task, geometry: usize, length: usize) -> Option<f64> {
    let of = |table: &[Option<[f64; 3]>; 7]| table[geometry].map(|goals| goals[length]);
    match task {
        Task::Encode => of(&ENCODE),
        Task::Max => of(&MAX),
        Task::One => None,
    }
}
