#![doc = include_str!("../README.md")]

/// One shared folder on disk.
pub mod folder;
