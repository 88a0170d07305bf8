//! Where the story plays: a directory of its own and four nodes, gone when this is dropped.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cs_node::api::{Problem, ProblemCode};
use rustix::fs::statvfs;

use crate::cli::demo::actor::Actor;
use crate::cli::words;

/// Free disk space in bytes that the demo asks for: two folders with their large files, and what is replaced in them.
const ROOM: u64 = 1 << 30;

/// The nodes and their folders. Dropping it kills the nodes and removes the directory.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in this order: first the nodes, then what they write to.
    pub(crate) alice: Actor,
    pub(crate) bob: Actor,
    pub(crate) carol: Actor,
    pub(crate) lighthouse: Actor,
    /// The step that is played, from 1.
    pub(crate) step: u8,
    plant: Option<u8>,
    /// The space's invitation for Bob, once there is one.
    pub(crate) invitation: String,
    root: Root,
}

impl Stage {
    /// Makes the directory. No node runs yet.
    pub(crate) fn set_up(plant: Option<u8>, keep: bool) -> Result<Self, Problem> {
        let root = Root::make(keep)?;
        let actor = |name| Actor::new(name, &root.path);
        Ok(Self {
            alice: actor("alice"),
            bob: actor("bob"),
            carol: actor("carol"),
            lighthouse: actor("lighthouse"),
            step: 0,
            plant,
            invitation: String::new(),
            root,
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root.path
    }

    /// Whether the directory stays.
    pub(crate) fn keeps(&self) -> bool {
        self.root.keep
    }

    /// Whether a fault is to be planted in this step, which its check must find.
    pub(crate) fn plants(&self) -> bool {
        self.plant == Some(self.step)
    }

    /// Whose ID this is.
    pub(crate) fn name_of(&self, id: &str) -> &'static str {
        let actors = [&self.alice, &self.bob, &self.carol, &self.lighthouse];
        actors.into_iter().find(|actor| actor.id == id).map_or("a stranger", |actor| actor.name)
    }

    /// The nodes that ended although nobody ended them, with the last they wrote.
    pub(crate) fn obituaries(&self) -> String {
        [&self.lighthouse, &self.alice, &self.bob, &self.carol]
            .into_iter()
            .filter_map(Actor::obituary)
            .collect()
    }
}

/// A directory that only this user can read, removed when dropped.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    keep: bool,
}

impl Root {
    fn make(keep: bool) -> Result<Self, Problem> {
        let base = std::env::temp_dir();
        let refused = |why: String| {
            let what = format!("The demo cannot use {}: {why}.", base.display());
            Problem::new(ProblemCode::Disk, what, "Name another directory by the variable TMPDIR.")
        };
        let free = statvfs(&base).map_err(|error| refused(error.to_string()))?;
        let free = free.f_bavail.saturating_mul(free.f_frsize);
        if free < ROOM {
            return Err(refused(format!("{} are free, it needs {}", words::size(free), words::size(ROOM))));
        }
        // The path that a node will name: `/tmp` is a link on some systems.
        let base = base.canonicalize().map_err(|error| refused(error.to_string()))?;
        let path = base.join(format!("cosync-demo-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| refused(error.to_string()))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is temporary all the same.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
