//! The six laws of a machine (STYLE.md 2).
