//! Our side: `cosync share` and `cosync join`, as typed.

use std::path::Path;

use cs_node::api::SpaceState;
use cs_tests::real::{Node, Setup, Usage};

use crate::pair::{Pair, System};
use crate::rows::Failure;

/// This workspace's own binary.
pub(crate) struct Cosync;

impl System for Cosync {
    fn name(&self) -> &str {
        "cosync"
    }

    fn start(&self, work: &Path, from: &Path, to: &Path) -> Result<Box<dyn Pair>, Failure> {
        let (from, to) = (from.to_string_lossy(), to.to_string_lossy());
        let (first, line) = Setup::new(work.join("a")).start(&["--json", "share", &from])?;
        let invited: serde_json::Value = serde_json::from_str(&line).map_err(std::io::Error::from)?;
        let invitation = invited["invitation"].as_str().ok_or_else(|| Failure::new(line.clone()))?;
        let (second, _) = Setup::new(work.join("b")).start(&["--json", "join", invitation, &to])?;
        Ok(Box::new(Two(first, second)))
    }
}

struct Two(Node, Node);

impl Pair for Two {
    fn is_synced(&self, files: u64) -> bool {
        self.1.space().is_some_and(|space| {
            space.state == SpaceState::UpToDate && space.files == files && space.files_wanted == 0
        })
    }

    fn usages(&self) -> Option<[Usage; 2]> {
        Some([self.0.usage()?, self.1.usage()?])
    }
}
